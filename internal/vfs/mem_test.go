package vfs

import "testing"

func wantFree(t *testing.T, m *Mem, want int64) {
	t.Helper()
	got, err := m.Free("/")
	must(t, err)
	if got != want {
		t.Fatalf("%d bytes are free, want %d", got, want)
	}
}

func TestAWriteFillsTheDiskAndThenFails(t *testing.T) {
	m := NewMem()
	m.SetCapacity(10)
	f := create(t, m, "f", "12345678")
	wantFree(t, m, 2)
	n, err := f.WriteAt([]byte("abcd"), 8)
	wantErr(t, err, ErrNoSpace)
	if n != 2 {
		t.Fatalf("%d bytes were written", n)
	}
	wantContent(t, m, "f", "12345678ab")
	n, err = f.WriteAt([]byte("x"), 1000)
	wantErr(t, err, ErrNoSpace)
	if n != 0 {
		t.Fatalf("%d bytes were written far behind the end", n)
	}
	wantErr(t, f.Truncate(11), ErrNoSpace)
	wantErr(t, f.Allocate(11), ErrNoSpace)
	write(t, f, 0, "over") // takes no room
	wantContent(t, m, "f", "over5678ab")

	m.SetCapacity(5) // what is there stays
	wantFree(t, m, 0)
	write(t, f, 6, "ok")
	must(t, f.Truncate(1))
	wantFree(t, m, 4)
	m.SetCapacity(-1)
	write(t, f, 1000, "x")
}

func TestRemovedFilesGiveTheirSpaceBackWhenClosed(t *testing.T) {
	m := NewMem()
	m.SetCapacity(100)
	f := create(t, m, "f", "0123456789")
	must(t, m.Link("f", "g"))
	must(t, m.Remove("f"))
	wantFree(t, m, 90)
	must(t, m.Remove("g"))
	wantFree(t, m, 90) // still open
	must(t, f.Close())
	wantFree(t, m, 100)

	must(t, create(t, m, "old", "12345").Close())
	must(t, create(t, m, "new", "123").Close())
	must(t, m.Rename("new", "old"))
	wantFree(t, m, 97)
}

func TestNamesLeadFromOneRoot(t *testing.T) {
	m := NewMem()
	must(t, m.MkdirAll("/a/b"))
	create(t, m, "a/b/f", "x")
	for _, name := range []string{"/a/b/f", "./a/b/f", "a//b/../b/f"} {
		wantContent(t, m, name, "x")
	}
	wantList(t, m, "", "a")
	wantList(t, m, "/", "a")
	wantList(t, m, ".", "a")
}
