package quota

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strings"
)

// Key is what a quota bounds.
type Key uint8

const (
	ProducerByteRate       Key = iota // bytes of produce requests in a second
	ConsumerByteRate                  // bytes of records fetched in a second
	RequestPercentage                 // time of the node's processors, 100 for one
	ControllerMutationRate            // partitions made and deleted in a second
	ConnectionCreationRate            // connections in a second, of an address
	Keys                              // how many keys there are
)

var keyNames = [Keys]string{"producer_byte_rate", "consumer_byte_rate", "request_percentage", "controller_mutation_rate", "connection_creation_rate"}

// String is Kafka's name.
func (k Key) String() string { return keyNames[k] }

// KeyNamed finds a key by Kafka's name.
func KeyNamed(name string) (Key, bool) {
	for k, n := range keyNames {
		if n == name {
			return Key(k), true
		}
	}
	return 0, false
}

// Part is one component of an entity: not there (the zero Part), the default of its
// type, or a name.
type Part struct {
	Name string
	Kind Kind
}

type Kind uint8

const (
	None Kind = iota
	Default
	Named
)

// Of is the part of a name.
func Of(name string) Part { return Part{name, Named} }

// Everybody is the default of a type.
func Everybody() Part { return Part{"", Default} }

func (p *Part) compare(o *Part) int {
	if p.Kind != o.Kind {
		return cmp.Compare(p.Kind, o.Kind)
	}
	return strings.Compare(p.Name, o.Name)
}

func (p Part) check() error {
	switch {
	case p.Kind > Named:
		return fmt.Errorf("a component of kind %d", p.Kind)
	case p.Kind == Named && p.Name == "":
		return errors.New("a name is empty")
	case p.Kind != Named && p.Name != "":
		return fmt.Errorf("%.100q is no name", p.Name)
	case len(p.Name) > maxName:
		return fmt.Errorf("a name has more than %d bytes", maxName)
	}
	return nil
}

// maxName bounds a name, in bytes.
const maxName = 1024

// Entity is whom a quota is for: a user, a client id, both together, or an address.
type Entity struct{ User, Client, IP Part }

// Compare orders entities.
func (e Entity) Compare(o Entity) int { return e.compare(&o) }

// compare copies nothing: requests are looked up by it.
func (e *Entity) compare(o *Entity) int {
	if c := e.User.compare(&o.User); c != 0 {
		return c
	}
	if c := e.Client.compare(&o.Client); c != 0 {
		return c
	}
	return e.IP.compare(&o.IP)
}

// Check says what is wrong with an entity.
func (e Entity) Check() error {
	for _, p := range []Part{e.User, e.Client, e.IP} {
		if err := p.check(); err != nil {
			return err
		}
	}
	switch {
	case e == Entity{}:
		return errors.New("it is for nobody")
	case e.IP.Kind != None && (e.User.Kind != None || e.Client.Kind != None):
		return errors.New("an address does not go together with a user or a client id")
	case e.IP.Kind == Named:
		ip, err := netip.ParseAddr(e.IP.Name)
		if err != nil {
			return fmt.Errorf("%.100q is no address; names are not looked up", e.IP.Name)
		}
		if canonical := ip.Unmap().String(); canonical != e.IP.Name {
			return fmt.Errorf("the address is to be written %s", canonical)
		}
	}
	return nil
}

// String is the entity in words.
func (e Entity) String() string {
	var words []string
	for _, p := range []struct {
		what string
		Part
	}{{"user", e.User}, {"client-id", e.Client}, {"ip", e.IP}} {
		switch p.Kind {
		case Default:
			words = append(words, p.what+" <default>")
		case Named:
			words = append(words, fmt.Sprintf("%s %q", p.what, p.Name))
		}
	}
	return strings.Join(words, ", ")
}

// Values are the quotas of an entity by their keys; 0 is none.
type Values [Keys]float64

// Check says what is wrong with values for an entity.
func (v Values) Check(e Entity) error {
	for k, value := range v {
		if value != 0 {
			if err := Key(k).check(e, value); err != nil {
				return err
			}
		}
	}
	return nil
}

func (k Key) check(e Entity, value float64) error {
	switch {
	case (k == ConnectionCreationRate) != (e.IP.Kind != None):
		return fmt.Errorf("%s is no quota for %s", k, e)
	case !(value > 0) || math.IsInf(value, 0):
		return fmt.Errorf("%s=%v, it must be more than 0", k, value)
	case k == RequestPercentage || k == ControllerMutationRate:
		return nil
	case value != math.Trunc(value):
		return fmt.Errorf("%s=%v, it must be a whole number", k, value)
	case k == ConnectionCreationRate && value > math.MaxInt32, value >= math.MaxInt64:
		return fmt.Errorf("%s=%v is too large", k, value)
	}
	return nil
}

// CheckValue is what is wrong with setting one quota of an entity.
func CheckValue(e Entity, k Key, value float64) error { return k.check(e, value) }

// Quota is an entity with its values, of which at least one is set.
type Quota struct {
	Entity
	Values
}

// Change sets one quota of an entity; Value 0 removes it.
type Change struct {
	Key   Key
	Value float64
}
