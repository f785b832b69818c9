package sdk

import (
	"context"
	"fmt"
	"log/slog"
	"time"
)

// Event is something that the SDK dealt with by itself and that somebody may want
// to count or to read: see WithListener. Normal operation has no events.
type Event interface {
	// String is one line for a log.
	String() string
}

// HandlerFailed is a handler that returned an error. The message rests and then
// the handler runs again.
type HandlerFailed struct {
	Message *Message
	Err     error
	RetryIn time.Duration
}

// CommitFailed is a commit of offsets that did not succeed. It is tried again; if
// the partition is gone, messages that were finished may be delivered again.
type CommitFailed struct {
	Group string
	Err   error
}

// FetchFailed is trouble with reading a topic or with the group. The consumer
// keeps trying.
type FetchFailed struct {
	Group     string
	Topic     string // empty if the trouble is not with one topic
	Partition int32  // -1 if it is not with one partition
	Err       error
}

// HandlersAbandoned is handlers that did not return in time when their partition
// was taken away. Their messages are delivered again elsewhere, perhaps while the
// handlers still run.
type HandlersAbandoned struct {
	Topic     string
	Partition int32
	Running   int
}

// QuestionFailed is a check-back question that led to no decision: it cannot be
// read, or the decision did not reach the broker. The broker asks again.
type QuestionFailed struct {
	Group string
	ID    string // of the half message, empty if the question does not say
	Err   error
}

func (e HandlerFailed) String() string {
	return fmt.Sprintf("handler failed on %s, attempt %d, again in %v: %v", e.Message.Place(), e.Message.Attempt, e.RetryIn, e.Err)
}

func (e CommitFailed) String() string {
	return fmt.Sprintf("group %q: committing offsets: %v", e.Group, e.Err)
}

func (e FetchFailed) String() string {
	if e.Topic == "" {
		return fmt.Sprintf("group %q: %v", e.Group, e.Err)
	}
	return fmt.Sprintf("group %q: reading topic %q partition %d: %v", e.Group, e.Topic, e.Partition, e.Err)
}

func (e HandlersAbandoned) String() string {
	return fmt.Sprintf("%d handlers of topic %q partition %d did not return in time; their messages will be delivered again", e.Running, e.Topic, e.Partition)
}

func (e QuestionFailed) String() string {
	return fmt.Sprintf("group %q: question about half message %q: %v", e.Group, e.ID, e.Err)
}

// logWarnings is the listener of those who set none.
func logWarnings(e Event) {
	slog.Default().Log(context.Background(), slog.LevelWarn, "splashdam: "+e.String())
}
