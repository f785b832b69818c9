package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/splashdam/splashdam/connect"
	"github.com/splashdam/splashdam/internal/dbserver"
	"github.com/splashdam/splashdam/internal/vfs"
	"github.com/splashdam/splashdam/sinks/arrow"
	"github.com/splashdam/splashdam/sources/mysql/tape"
)

const (
	// pipelineKills is how often the connector is killed.
	pipelineKills = 3
	// changePause is between two changes of the table, where they come at a pace.
	changePause = 12 * time.Millisecond
)

type pipelineFigures struct {
	Server    string  `json:"server"`
	Recording bool    `json:"recording"` // of the server, which is not there itself
	Changes   int     `json:"transactions"`
	Rows      int     `json:"rows"`         // of the table in the end
	FileRows  int     `json:"file_rows"`    // copied and changed
	Before    int     `json:"rows_at_kill"` // of these, how many were there at the last one
	Kills     int     `json:"kills"`
	Repeated  int     `json:"repeated"` // rows that are in the topic more than once
	Files     int     `json:"files"`
	Behind    float64 `json:"behind_seconds"` // from the last change until all was in the files
}

func (f pipelineFigures) String() string {
	of := f.Server
	if f.Recording {
		of = "a recording of " + of
	}
	return fmt.Sprintf("%s rows in %s = %s in Arrow files, after %d transactions; a connector killed %d times, %d changes came twice into the topic, none into the files",
		thousands(f.Rows), of, thousands(f.Rows), f.Changes, f.Kills, f.Repeated)
}

// showPipeline has a connector, a process of its own, bring a table's rows and
// changes through a topic into Arrow files, and kills it again and again. In the end
// the newest row of each key in the files is the table's, and no change is there twice.
func showPipeline(ctx context.Context, s *stage) (f figures, err error) {
	from, err := openOrigin(ctx, s, dbserver.Find)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, from.close(context.WithoutCancel(ctx))) }()
	c, err := newConnector(s, from)
	if err != nil {
		return nil, err
	}
	defer c.kill()
	files := &topicFiles{dir: filepath.Join(c.lake, from.topic())}
	end := pipelineEnd{places: map[placeAt]int{}}
	s.say("pipeline: %d transactions change a table in %s; a connector brings it into files", from.changes, from.named())
	next := 0
	change := func(n int, apart time.Duration) error {
		for range n {
			if err := from.change(ctx, next); err != nil {
				return err
			}
			next++
			s.tick("pipeline: transaction %d of %d", next, from.changes)
			pause(ctx, apart)
		}
		return nil
	}
	third := from.changes / pipelineKills / 3
	for range pipelineKills {
		if err := c.start(); err != nil {
			return nil, err
		}
		if err := change(third, changePause); err != nil {
			return nil, err
		}
		c.wait(ctx, func() bool { return files.rows() > end.before }) // there is something to lose
		// In a hurry, so that some of it is under way.
		if err := change(third, 0); err != nil {
			return nil, err
		}
		if err := c.kill(); err != nil {
			return nil, err
		}
		end.before = files.rows()
		s.say("pipeline: the connector is killed with %d rows in files, and the table goes on changing", end.before)
		if err := change(third, changePause); err != nil {
			return nil, err
		}
	}
	if err := c.start(); err != nil {
		return nil, err
	}
	if err := change(from.changes-next, changePause); err != nil {
		return nil, err
	}
	last := time.Now()
	if end.table, err = from.rows(ctx); err != nil {
		return nil, err
	}
	c.wait(ctx, func() bool { return files.have(end.table) })
	behind := time.Since(last)
	if err := c.stop(); err != nil {
		return nil, err
	}
	if err := end.read(files); err != nil {
		return nil, err
	}
	if err := end.check(); err != nil {
		return nil, err
	}
	repeated, err := s.repeated(ctx, from.topic())
	if err != nil {
		return nil, err
	}
	s.files = files.dir
	return pipelineFigures{
		Server: from.server, Recording: from.recording, Changes: from.changes, Rows: len(end.table),
		FileRows: len(end.places), Before: end.before, Kills: pipelineKills, Repeated: repeated, Files: end.files, Behind: inSeconds(behind),
	}, nil
}

// repeated counts the rows that are in the pipeline's topic more than once: what a
// connector had sent when it was killed, and had not yet noted that it had.
func (s *stage) repeated(ctx context.Context, topic string) (n int, err error) {
	ends, err := s.admin.ListEndOffsets(ctx, topic)
	if err = errors.Join(err, ends.Error()); err != nil {
		return 0, err
	}
	left := 0
	ends.Each(func(o kadm.ListedOffset) { left += int(o.Offset) })
	client, err := kgo.NewClient(kgo.SeedBrokers(s.brokers...), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return 0, err
	}
	defer client.Close()
	seen := map[string]bool{}
	for left > 0 {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return 0, fmt.Errorf("reading %s: %w", topic, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			left--
			for _, h := range r.Headers {
				if h.Key != connect.PlaceHeader || r.Value == nil { // a delete is followed by one without a value
					continue
				}
				at := fmt.Sprint(r.Partition, " ", string(h.Value))
				if seen[at] {
					n++
				}
				seen[at] = true
			}
		})
	}
	return n, nil
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// topicFiles are the files of the pipeline's topic, which become more.
type topicFiles struct {
	dir    string
	looked int // files, the last time
}

// open opens the directory, nil if there is none yet.
func (l *topicFiles) open() (*arrow.Directory, error) {
	d, err := arrow.OpenDirectory(vfs.OS(), l.dir)
	if errors.Is(err, vfs.ErrNotExist) {
		return nil, nil
	}
	return d, err
}

// rows counts the rows of all files, as far as they can be read.
func (l *topicFiles) rows() int {
	n := 0
	if d, err := l.open(); d != nil && err == nil {
		_ = d.Rows(func(b *arrow.Block) error { n += b.Len(); return nil }) // what is wrong with them shows in the end
	}
	return n
}

// have is whether the newest rows in the files are the table's. It reads them only
// if there are more files than the last time.
func (l *topicFiles) have(table tape.State) bool {
	d, err := l.open()
	if d == nil || err != nil || len(d.Files) == l.looked {
		return false
	}
	l.looked = len(d.Files)
	state, err := latest(d)
	return err == nil && maps.Equal(state, table)
}

func latest(d *arrow.Directory) (tape.State, error) {
	state := tape.State{}
	err := d.Latest(func(b *arrow.Block) error {
		for row := range b.Len() {
			if err := state.Put(b.Schema.Fields, b.Columns, row); err != nil {
				return err
			}
		}
		return nil
	})
	return state, err
}

// placeAt is a row's place, and the partition that it was in.
type placeAt struct {
	partition int32
	place     connect.Place
}

// pipelineEnd is what there is when all has settled.
type pipelineEnd struct {
	table  tape.State      // as the server has it
	latest tape.State      // as the files have it
	places map[placeAt]int // how often each is in the files
	before int             // rows in the files when the connector was killed
	files  int
}

func (e *pipelineEnd) read(files *topicFiles) error {
	d, err := files.open()
	if err != nil {
		return err
	}
	if d == nil {
		return fmt.Errorf("there are no files in %s", files.dir)
	}
	e.files = len(d.Files)
	err = d.Rows(func(b *arrow.Block) error {
		for _, place := range b.Place {
			e.places[placeAt{b.Partition, place}]++
		}
		return nil
	})
	if err == nil {
		e.latest, err = latest(d)
	}
	return err
}

// check says what is wrong with the end.
func (e *pipelineEnd) check() error {
	var other, twice []string
	for key, row := range e.table {
		if now, ok := e.latest[key]; ok && now != row {
			other = append(other, key)
		}
	}
	for at, n := range e.places {
		if n > 1 {
			twice = append(twice, at.place.String())
		}
	}
	if err := anyOf(
		offence{"rows of the table that are not in the files", missingRows(e.table, e.latest)},
		offence{"rows in the files that are not in the table", missingRows(e.latest, e.table)},
		offence{"rows that are other ones in the files than in the table", other},
		offence{"places that are in the files twice", twice},
	); err != nil {
		return err
	}
	switch rows := len(e.places); {
	case e.before == 0:
		return errors.New("the connector was killed before there was a row in the files: nothing was tried")
	case e.before == rows:
		return fmt.Errorf("the connector was killed when all %d rows were in the files: nothing was tried", rows)
	}
	return nil
}

// missingRows are the keys of one that the other has not.
func missingRows(of, in tape.State) []string {
	var keys []string
	for key := range of {
		if _, ok := in[key]; !ok {
			keys = append(keys, key)
		}
	}
	return keys
}
