package vfs

import (
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"reflect"
	"testing"
)

var errBroken = errors.New("broken")

// session makes every call of FS and File once, in an order in which all succeed
// but for what errors are ignored, and names them.
func session(fsys FS) []error {
	var errs []error
	note := func(err error) { errs = append(errs, err) }
	note(fsys.MkdirAll("d"))
	f, err := fsys.Create("d/f")
	note(err)
	if f != nil {
		_, err = f.WriteAt([]byte("hello"), 0)
		note(err)
		_, err = f.ReadAt(make([]byte, 5), 0)
		note(err)
		_, err = f.Size()
		note(err)
		note(f.Truncate(3))
		note(f.Sync())
		f.Close()
	}
	for _, open := range []func(string) (File, error){fsys.Open, fsys.OpenWrite} {
		f, err := open("d/f")
		note(err)
		if f != nil {
			f.Close()
		}
	}
	note(fsys.Link("d/f", "d/g"))
	note(fsys.Rename("d/g", "d/h"))
	_, err = fsys.List("d")
	note(err)
	_, err = fsys.Exists("d/f")
	note(err)
	note(fsys.SyncDir("d"))
	lock, err := fsys.Lock("LOCK")
	note(err)
	if lock != nil {
		lock.Close()
	}
	_, err = fsys.Free("d")
	note(err)
	note(fsys.Remove("d/h"))
	return errs
}

func TestEveryCallIsAnnouncedInOrder(t *testing.T) {
	var calls []string
	f := NewFault(NewMem(), func(op Op) error {
		if op.N != len(calls)+1 {
			t.Errorf("%v has number %d, want %d", op, op.N, len(calls)+1)
		}
		calls = append(calls, op.String())
		return nil
	})
	if err := errors.Join(session(f)...); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"mkdirall d", "create d/f", "write d/f 5", "read d/f 5", "size d/f", "truncate d/f", "sync d/f",
		"open d/f", "openwrite d/f", "link d/f d/g", "rename d/g d/h", "list d", "exists d/f", "syncdir d",
		"lock LOCK", "free d", "remove d/h",
	}
	if !reflect.DeepEqual(calls, want) {
		t.Errorf("calls %q, want %q", calls, want)
	}
	if f.Calls() != len(want) {
		t.Errorf("%d calls, want %d", f.Calls(), len(want))
	}
}

func TestTheFailedCallFailsAndHasNoEffect(t *testing.T) {
	total := len(session(NewMem()))
	for n := 1; n <= total; n++ {
		failed := 0
		for _, err := range session(NewFault(NewMem(), FailAt(n, errBroken))) {
			if errors.Is(err, errBroken) {
				failed++
				var pathErr *fs.PathError
				if !errors.As(err, &pathErr) || pathErr.Path == "" {
					t.Errorf("call %d: %v does not say where", n, err)
				}
			}
		}
		if failed != 1 {
			t.Errorf("call %d: %d calls failed", n, failed)
		}
	}

	mem := NewMem()
	create(t, mem, "f", "content")
	before := dump(t, mem, "/")
	broken := NewFault(mem, func(op Op) error {
		if op.Kind == OpOpenWrite {
			return nil
		}
		return errBroken
	})
	session(broken)
	f, err := broken.OpenWrite("f")
	must(t, err)
	defer f.Close()
	_, err = f.WriteAt([]byte("x"), 0)
	wantErr(t, err, errBroken)
	wantErr(t, f.Truncate(0), errBroken)
	wantErr(t, f.Allocate(9), errBroken)
	wantErr(t, f.Sync(), errBroken)
	wantErr(t, broken.Remove("f"), errBroken)
	wantErr(t, broken.Rename("f", "g"), errBroken)
	if after := dump(t, mem, "/"); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
	wantList(t, mem.CrashClean(), "/") // nor did the sync happen
}

func TestAShortWriteWritesItsFirstBytes(t *testing.T) {
	mem := NewMem()
	fault := NewFault(mem, func(op Op) error {
		if op.Kind == OpWrite {
			return ShortWrite(3, errBroken)
		}
		return nil
	})
	f, err := fault.Create("f")
	must(t, err)
	defer f.Close()
	n, err := f.WriteAt([]byte("abcdef"), 0)
	wantErr(t, err, errBroken)
	if n != 3 {
		t.Errorf("%d bytes were written", n)
	}
	wantContent(t, mem, "f", "abc")
	if n, _ := f.WriteAt([]byte("x"), 3); n != 1 {
		t.Errorf("%d of 1 bytes were written", n)
	}
}

func TestAShortReadReadsItsFirstBytes(t *testing.T) {
	mem := NewMem()
	create(t, mem, "f", "abcdef")
	fault := NewFault(mem, func(op Op) error {
		switch {
		case op.Kind == OpRead && op.Offset == 1:
			return ShortRead(2, errBroken)
		case op.Kind == OpRead && op.Offset == 5:
			return ShortRead(7, errBroken)
		}
		return nil
	})
	f, err := fault.Open("f")
	must(t, err)
	defer f.Close()
	p := make([]byte, 4)
	n, err := f.ReadAt(p, 1)
	wantErr(t, err, errBroken)
	if n != 2 || string(p[:n]) != "bc" {
		t.Errorf("%d bytes were read: %q", n, p[:n])
	}
	if n, err := f.ReadAt(p, 5); n != 1 || err != io.EOF {
		t.Errorf("at the end %d bytes were read: %v", n, err)
	}
	if n, err := f.ReadAt(p, 2); n != 4 || err != nil {
		t.Errorf("elsewhere %d bytes were read: %v", n, err)
	}
}

func TestAFlippedBitIsInWhatIsReadOnly(t *testing.T) {
	mem := NewMem()
	create(t, mem, "f", "aaaa")
	fault := NewFault(mem, func(Op) error { return FlipBit(8*4 + 9) })
	f, err := fault.OpenWrite("f")
	must(t, err)
	defer f.Close()
	for _, read := range []func([]byte, int64) (int, error){f.ReadAt, f.ReadOnce} {
		p := make([]byte, 4)
		if n, err := read(p, 0); n != 4 || err != nil || string(p) != "acaa" {
			t.Errorf("%d bytes were read: %q, %v", n, p, err)
		}
	}
	if n, err := f.WriteAt([]byte("b"), 3); n != 1 || err != nil {
		t.Errorf("%d bytes were written: %v", n, err)
	}
	must(t, f.Sync())
	wantContent(t, mem, "f", "aaab")
}

func TestNothingWorksBehindTheCrash(t *testing.T) {
	total := len(session(NewMem()))
	rnd := rand.New(rand.NewPCG(1, 1))
	for n := 1; n <= total; n++ {
		mem := NewMem()
		fault := NewFault(mem, CrashAt(n))
		for i, err := range session(fault) {
			if crashed := errors.Is(err, ErrCrashed); crashed != (i+1 >= n) {
				t.Errorf("crash at %d, call %d: %v", n, i+1, err)
			}
		}
		if err := errors.Join(session(mem.Crash(rnd))...); err != nil && !errors.Is(err, ErrExist) {
			t.Errorf("crash at %d: the clone does not work: %v", n, err)
		}
	}
}
