package generator

import (
	"fmt"
	"math/rand/v2"
	"strconv"

	"github.com/splashdam/splashdam/connect"
)

// dataset is a table that never was.
type dataset struct {
	schema *connect.Schema
	// append adds row n, from 0, drawn from r.
	append func(columns []connect.Column, n uint64, r *rand.Rand)
}

// epoch is when row 0 happened, 2026-01-01 UTC in microseconds; a row comes every
// millisecond of the tables' time.
const epoch = 1_767_225_600_000_000

func datasetNamed(name, prefix string) (dataset, error) {
	switch name {
	case "orders":
		return orders(prefix + ".orders"), nil
	case "vehicles":
		return vehicles(prefix + ".vehicles"), nil
	}
	return dataset{}, fmt.Errorf("there is no dataset %q; there are orders and vehicles", name)
}

func orders(name string) dataset {
	states := []string{"new", "paid", "sent", "returned"}
	people := []string{"Ada", "Béatrice", "Chen", "Dmitri", "Emeka", "Fatima", "Grace", "Hiroshi"}
	notes := []string{"leave at the door", "gift", "call \"before\" noon", "fragile\n2nd floor", ""}
	schema := &connect.Schema{
		Name: name,
		Key:  []int{0},
		Fields: []connect.Field{
			{Name: "id", Type: connect.Type{Kind: connect.Int64}},
			{Name: "user_id", Type: connect.Type{Kind: connect.Uint32}},
			{Name: "name", Type: connect.Type{Kind: connect.String}},
			{Name: "email", Type: connect.Type{Kind: connect.String}},
			{Name: "amount", Type: connect.Type{Kind: connect.Decimal, Precision: 12, Scale: 2}},
			{Name: "status", Type: connect.Type{Kind: connect.Enum, Values: states}},
			{Name: "flag", Type: connect.Type{Kind: connect.Bool}},
			{Name: "created", Type: connect.Type{Kind: connect.DateTime, Precision: 3}},
			{Name: "updated", Type: connect.Type{Kind: connect.Timestamp, Precision: 6}},
			{Name: "note", Type: connect.Type{Kind: connect.String}, Nullable: true},
		},
	}
	return dataset{schema, func(c []connect.Column, n uint64, r *rand.Rand) {
		user := r.Uint32N(1_000_000)
		person := people[r.IntN(len(people))]
		c[0].Append8(n + 1)
		c[1].Append4(user)
		c[2].AppendText([]byte(person))
		c[3].Data = append(strconv.AppendUint(append(c[3].Data, "user"...), uint64(user), 10), "@example.com"...)
		c[3].EndText()
		c[4].Append16(uint64(r.IntN(1_000_000)), 0)
		c[5].AppendText([]byte(states[r.IntN(len(states))]))
		c[6].AppendBool(r.IntN(10) == 0)
		c[7].Append8(epoch + n*1000)
		c[8].Append8(epoch + n*1000 + uint64(r.IntN(1000)))
		if r.IntN(10) == 0 {
			c[9].AppendNull()
		} else {
			c[9].AppendText([]byte(notes[r.IntN(len(notes))]))
		}
	}}
}

// fleet is how many vehicles report, in turn.
const fleet = 1000

func vehicles(name string) dataset {
	schema := &connect.Schema{
		Name: name,
		Key:  []int{0},
		Fields: []connect.Field{
			{Name: "vehicle", Type: connect.Type{Kind: connect.Uint32}},
			{Name: "reported", Type: connect.Type{Kind: connect.Timestamp, Precision: 3}},
			{Name: "latitude", Type: connect.Type{Kind: connect.Decimal, Precision: 8, Scale: 6}},
			{Name: "longitude", Type: connect.Type{Kind: connect.Decimal, Precision: 9, Scale: 6}},
			{Name: "speed", Type: connect.Type{Kind: connect.Uint16}},
			{Name: "charge", Type: connect.Type{Kind: connect.Uint8}, Nullable: true},
		},
	}
	return dataset{schema, func(c []connect.Column, n uint64, r *rand.Rand) {
		c[0].Append4(uint32(n % fleet))
		c[1].Append8(epoch + n*1000)
		c[2].Append16(uint64(47_000_000+r.IntN(1_000_000)), 0)
		c[3].Append16(uint64(8_000_000+r.IntN(1_000_000)), 0)
		c[4].Append2(uint16(r.IntN(131)))
		if n%fleet%4 == 0 {
			c[5].AppendNull() // it burns something
		} else {
			c[5].Append1(uint8(r.IntN(101)))
		}
	}}
}
