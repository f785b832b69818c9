package quota

import (
	"slices"
	"sort"
)

// Table is the quotas of a cluster, by entity. It must not be changed.
type Table []Quota

// Find finds what is set for an entity.
func (t Table) Find(e Entity) (Values, bool) {
	i, ok := t.search(e)
	if !ok {
		return Values{}, false
	}
	return t[i].Values, true
}

func (t Table) search(e Entity) (int, bool) {
	i := sort.Search(len(t), func(i int) bool { return t[i].Entity.compare(&e) >= 0 })
	return i, i < len(t) && t[i].Entity == e
}

// With is the table where an entity has some values, and is not there if they are
// none; t itself if nothing changes.
func (t Table) With(e Entity, v Values) Table {
	i, ok := t.search(e)
	switch {
	case !ok && v == Values{}, ok && t[i].Values == v:
		return t
	case ok && v == Values{}:
		if len(t) == 1 {
			return nil
		}
		return slices.Concat(t[:i], t[i+1:])
	case !ok:
		return slices.Concat(t[:i], Table{{e, v}}, t[i:])
	}
	out := slices.Clone(t)
	out[i].Values = v
	return out
}

// share is who takes from one quota together, and what it is.
type share struct {
	of    Entity // without defaults: all whom a default is for have one each
	limit float64
}

// share finds the quota that holds for a client, the most special one that has the key:
// by user and client id, by user, by client id; a name before the default.
func (t Table) share(k Key, user, client string) (share, bool) {
	if len(t) == 0 {
		return share{}, false
	}
	u, c := Of(user), Of(client)
	for _, try := range [...]struct{ rule, of Entity }{
		{Entity{User: u, Client: c}, Entity{User: u, Client: c}},
		{Entity{User: u, Client: Everybody()}, Entity{User: u, Client: c}},
		{Entity{User: u}, Entity{User: u}},
		{Entity{User: Everybody(), Client: c}, Entity{User: u, Client: c}},
		{Entity{User: Everybody(), Client: Everybody()}, Entity{User: u, Client: c}},
		{Entity{User: Everybody()}, Entity{User: u}},
		{Entity{Client: c}, Entity{Client: c}},
		{Entity{Client: Everybody()}, Entity{Client: c}},
	} {
		if v, ok := t.Find(try.rule); ok && v[k] > 0 {
			return share{try.of, v[k]}, true
		}
	}
	return share{}, false
}

// shareOf is share for an address.
func (t Table) shareOf(ip string) (share, bool) {
	if len(t) == 0 {
		return share{}, false
	}
	of := Entity{IP: Of(ip)}
	for _, rule := range [...]Entity{of, {IP: Everybody()}} {
		if v, ok := t.Find(rule); ok && v[ConnectionCreationRate] > 0 {
			return share{of, v[ConnectionCreationRate]}, true
		}
	}
	return share{}, false
}
