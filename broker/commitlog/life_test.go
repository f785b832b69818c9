package commitlog

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/seeds"
	"github.com/splashdam/splashdam/internal/vfs"
)

// long reports whether tests may take minutes.
var long = os.Getenv("SPLASHDAM_TEST_LONG") != ""

// stride is how far apart the places are that a test tries, of all that there are: n, or
// many where tests may take long. Under the race detector it is raceShare times as far: that
// looks for what runs side by side, of which a matrix of crashes has nothing.
func stride(n, many int) int {
	if long {
		n = many
	}
	if raced {
		n *= raceShare
	}
	return n
}

const raceShare = 13

// sample is the numbers from 1 to total, each stride-th from a random one on, so that
// every run tries others.
func sample(t *testing.T, total, stride int) []int {
	t.Helper()
	begin := 1 + rand.IntN(stride)
	if stride > 1 {
		t.Logf("of %d calls the %d. and each %d. behind it", total, begin, stride)
	}
	var list []int
	for n := begin; n <= total; n += stride {
		list = append(list, n)
	}
	return list
}

// fewer is how many random lives there are, of n: under the race detector only a few.
func fewer(n uint64) uint64 {
	if raced {
		n = 1 + n/raceShare
	}
	return n
}

// lifeOptions suit the small segments of a test.
var lifeOptions = Options{IndexCache: blockSize, roomPiece: 256}

// randomScript is a life of a few dozen calls, seeded by its number.
func (h *history) randomScript(fsys vfs.FS) []func() error {
	rnd := rand.New(rand.NewPCG(h.life, 7))
	steps := []func() error{
		func() (err error) { h.log, err = Open(fsys, dir, lifeOptions); return err },
		func() error { return h.setHard(1, 1, 0) },
	}
	for range 30 {
		steps = append(steps, func() error { return h.random(fsys, rnd) })
	}
	return append(steps, h.close)
}

// random makes one call, of those that may be made now.
func (h *history) random(fsys vfs.FS, rnd *rand.Rand) error {
	last := record.Index(len(h.entries))
	upTo := func(n record.Index) record.Index { return record.Index(rnd.Uint64N(uint64(n) + 1)) }
	switch k := rnd.IntN(100); {
	case k < 32:
		rolls := make([]bool, 1+rnd.IntN(4))
		for i := range rolls {
			rolls[i] = rnd.IntN(4) == 0
		}
		return h.append(rolls...)
	case k < 35:
		return h.do(h.log.Prepare)
	case k < 48:
		return h.sync()
	case k < 50:
		return h.scrub()
	case k < 65:
		return h.commit(h.committed + upTo(last-h.committed))
	case k < 70:
		return h.setHard(h.hard.Term, h.hard.Vote, h.committed)
	case k < 75:
		return h.setHard(h.hard.Term+1, 1+rnd.Uint64N(3), h.committed)
	case k < 80:
		return h.truncate(h.committed + upTo(last-h.committed))
	case k < 90:
		return h.seal()
	case k < 92:
		h.kill(partitions[rnd.IntN(len(partitions))], 1+rnd.IntN(8))
		return h.clean()
	case k < 97:
		if h.committed == h.snapshot {
			return nil
		}
		return h.snap(h.snapshot + 1 + upTo(h.committed-h.snapshot-1))
	default:
		return h.reopen(fsys)
	}
}

// scrub goes through the log.
func (h *history) scrub() error {
	s, err := h.log.Scrub()
	if err != nil {
		return err
	}
	for done := false; err == nil && !done; {
		_, done, err = s.Step(1, 700)
	}
	return errors.Join(err, s.Close())
}

// A log lives through ten thousand random calls (under the race detector, one thousand), deaths and power losses, and is
// compared with a list of entries after each. A seed in SPLASHDAM_TEST_SEED lives
// that one life again.
func TestALogAgreesWithAListThroughTenThousandRandomCallsAndCrashes(t *testing.T) {
	t.Parallel()
	const callsOfALife = 250
	first, n := seeds.Range(t, fewer(40), fewer(150))
	deaths, losses := 0, 0
	for seed := first; seed != first+n; seed++ {
		rnd := rand.New(rand.NewPCG(seed, 0))
		mem := vfs.NewMem()
		h := newHistory()
		live := func() (err error) {
			if h.log, err = Open(mem, dir, lifeOptions); err != nil {
				return err
			}
			if err := h.setHard(1, 1, 0); err != nil {
				return err
			}
			for range callsOfALife {
				switch rnd.IntN(100) {
				case 0:
					deaths++
					h.synced = max(h.synced, h.appended)
					err = h.after(mem)
				case 1:
					losses++
					mem = mem.Crash(rnd)
					err = h.after(mem)
				case 2:
					losses++
					mem = mem.CrashClean()
					err = h.after(mem)
				default:
					if err = h.random(mem, rnd); err == nil && rnd.IntN(40) == 0 {
						err = h.check()
					}
				}
				if errors.Is(err, ErrClosed) || h.log.writable() == ErrClosed {
					err = h.again(mem)
				}
				if n := h.log.Damage(); err == nil && n > 0 {
					err = fmt.Errorf("%d damaged places", n)
				}
				if err != nil {
					return err
				}
			}
			return h.check()
		}
		if err := live(); err != nil {
			t.Fatalf("SPLASHDAM_TEST_SEED=%d: %v", seed, err)
		}
	}
	if !raced && (deaths < 10 || losses < 20) {
		t.Errorf("only %d deaths and %d power losses", deaths, losses)
	}
}

// again opens a log that was closed.
func (h *history) again(fsys vfs.FS) error {
	l, err := Open(fsys, dir, lifeOptions)
	if err != nil {
		return fmt.Errorf("opening it again: %w", err)
	}
	h.log = l
	return h.replay()
}
