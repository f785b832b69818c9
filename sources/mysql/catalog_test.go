package mysql

import (
	"database/sql"
	"slices"
	"strings"
	"testing"
)

func TestMembersReadOutOfADeclaration(t *testing.T) {
	for text, want := range map[string][]string{
		`enum('a')`:                     {"a"},
		`set('a','b c','','ü')`:         {"a", "b c", "", "ü"},
		`enum('it''s','a\\b','c\nd')`:   {"it's", `a\b`, "c\nd"},
		`enum('\0\r',')','(',',''')`:    {"\x00\r", ")", "(", ",'"},
		`enum('x') /* and a comment */`: {"x"},
	} {
		if got, err := parseMembers(text); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s has %q (%v), want %q", text, got, err, want)
		}
	}
	for _, text := range []string{"", "enum", "enum(", "enum()", "enum('", "enum('a", "enum('a'", "enum('a',", "enum('a'b')", `enum('a\`} {
		if got, err := parseMembers(text); err == nil {
			t.Errorf("%q has %q", text, got)
		}
	}
}

func TestATypeThatNobodyKnowsIsAnError(t *testing.T) {
	d := declaration{columns: []columnDeclaration{{name: "a", dataType: "hologram"}}}
	if _, err := d.schema("x"); err == nil || !strings.Contains(err.Error(), `column a`) || !strings.Contains(err.Error(), "hologram") {
		t.Errorf("error is %v", err)
	}
	d = declaration{columns: []columnDeclaration{{name: "a", dataType: "int"}}, key: []string{"b"}}
	if _, err := d.schema("x"); err == nil {
		t.Error("a key of a column that is not there is none")
	}
}

// TestBothSchemasOfATableAreTheSame compares what information_schema and the
// events say of tables of every shape; of every type the types test does.
func TestBothSchemasOfATableAreTheSame(t *testing.T) {
	shapes := []struct {
		name, only, ddl string
		key             []string
	}{
		{"no_key", "", "(a int, b varchar(10))", nil},
		{"unique_only", "", "(a int not null unique, b int)", []string{"a"}},
		{"unique_null", "", "(a int unique, b int)", nil},
		{"unique_prefix", "", "(a varchar(10) not null, b int, unique (a(5)))", nil},
		{"unique_many", "", "(a int, b int not null, c int not null, d int not null, unique z (a), unique y (c, b), unique x (b, c), unique w (d))", []string{"c", "b"}},
		{"unique_order", "", "(b int not null, c int not null, unique x (b, c), unique a (c, b), key k (c))", []string{"b", "c"}},
		{"unique_text", "mariadb", "(a text not null unique, b int)", nil},
		{"unique_function", "mysql", "(a int not null, b int not null, unique ((a+1)), unique (b))", []string{"b"}},
		{"key_and_unique", "", "(a int not null unique, b int primary key)", []string{"b"}},
		{"late_key", "", "(a int, b varchar(10) character set latin1, c int, primary key (c, b, a))", []string{"c", "b", "a"}},
		{"prefix_key", "", "(a int, b varchar(100), c blob, primary key (b(10), c(5), a))", []string{"b", "c", "a"}},
		{"odd_names", "", "(`a``b` int primary key, `select` int, `ünï 漢` int, `" + strings.Repeat("n", 64) + "` int)", []string{"a`b"}},
		{"choices", "", "(id int primary key, e enum('a\\\\b','c\\nd','it''s','\\0') character set latin1, f enum('ö'), g set('x','ü') character set utf16, h char(3))", []string{"id"}},
		{"comments", "", "(id int unsigned primary key comment 'enum(''x'') unsigned', b bigint comment ' unsigned')", []string{"id"}},
		{"partitions", "", "(id int primary key, v int) PARTITION BY HASH (id) PARTITIONS 4", []string{"id"}},
		{"wide", "", "(" + strings.Join(numbered("c%d int", 300), ",") + ", primary key (c300, c255, c256))", []string{"c300", "c255", "c256"}},
		{"functional", "mysql", "(id int primary key, j json, index ((id+1)), index ((cast(j->'$[*]' as unsigned array))))", []string{"id"}},
		{"made_key", "server", "", []string{"my_row_id"}},
		{"computed", "", "(id int primary key, v int as (id+1) virtual, s varchar(9) as (concat(id)) stored, a int)", []string{"id"}},
		{"versioned", "mariadb", "(id int, v int, primary key (v, id)) WITH SYSTEM VERSIONING", []string{"v", "id"}},
		{"period", "mariadb", "(id int primary key, v int, a timestamp(6) generated always as row start, b timestamp(6) generated always as row end, period for system_time(a,b)) WITH SYSTEM VERSIONING", []string{"id"}},
		{"transactions", "mariadb", "(id int primary key, a bigint unsigned generated always as row start, b bigint unsigned generated always as row end, period for system_time(a,b)) WITH SYSTEM VERSIONING", []string{"id"}},
	}
	live(t, "", "", func(t *testing.T, s *liveServer, conn *sql.Conn) {
		execute(t, conn, "SET sql_mode=''")
		for _, shape := range shapes {
			if shape.only == "" || shape.only == map[bool]string{true: "mariadb", false: "mysql"}[s.mariadb] {
				execute(t, conn, "CREATE TABLE "+shape.name+" "+shape.ddl, "INSERT INTO "+shape.name+" () VALUES ()")
			}
		}
		if !s.mariadb {
			execute(t, conn, "SET sql_generate_invisible_primary_key=ON", "CREATE TABLE made_key (a int)", "INSERT INTO made_key () VALUES ()")
		}
	}, func(t *testing.T, r recording) {
		compared := 0
		for _, e := range r.events {
			if e.kind != eventTableMap {
				continue
			}
			_, name, err := tableMapName(e.bytes)
			if err != nil {
				t.Fatal(err)
			}
			d := r.declarations[name]
			table, err := parseTableMap(e.bytes, "test", r.server, d)
			if err != nil {
				t.Fatal(err)
			}
			schema, err := d.schema("test.splashdam_test." + name)
			if err != nil {
				t.Fatal(err)
			}
			if !table.schema.SameRows(schema) {
				t.Errorf("%s: the event gives\n%+v, information_schema\n%+v", name, table.schema, schema)
			}
			var key []string
			for _, i := range schema.Key {
				key = append(key, schema.Fields[i].Name)
			}
			for _, shape := range shapes {
				if shape.name == name && !slices.Equal(key, shape.key) {
					t.Errorf("%s has the key %q, want %q", name, key, shape.key)
				}
			}
			compared++
		}
		if compared < 10 {
			t.Errorf("only %d tables were compared", compared)
		}
	})
}
