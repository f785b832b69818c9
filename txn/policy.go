package txn

import "time"

// Policy paces the questions about undecided half messages. The defaults are those
// that RocketMQ's users know.
type Policy struct {
	// Immunity is how long a sender is left alone after its prepare.
	Immunity time.Duration
	// Interval is the pause behind each question.
	Interval time.Duration
	// Checks is how many questions are put before the message is parked.
	Checks int
	// History is how long an ended half message stays known, if there is room.
	History time.Duration
	// MaxHalves bounds the half messages that a shard knows, ended ones included. A
	// prepare beyond it makes the shard forget the one that ended first; if none has
	// ended, it is refused.
	MaxHalves int
}

// DefaultPolicy is 6 s, every 30 s, 15 times, and a day.
func DefaultPolicy() Policy {
	return Policy{
		Immunity:  6 * time.Second,
		Interval:  30 * time.Second,
		Checks:    15,
		History:   24 * time.Hour,
		MaxHalves: 2_000_000,
	}
}

// Where questions go. Question n about a message goes to a partition that moves on
// with n, so that an instance that hangs is passed by.
const (
	CheckPartitions = 8
	CheckRetention  = time.Hour
)

// CheckTopic is the topic in which the instances of a group are asked.
func CheckTopic(group string) string { return group + ".check" }

// QuestionPartition is the partition of the check topic for question n about the
// half message of that id.
func QuestionPartition(id string, n int) int32 {
	h := uint32(2166136261) // FNV-1a
	for i := range len(id) {
		h = (h ^ uint32(id[i])) * 16777619
	}
	return int32((uint64(h) + uint64(n)) % CheckPartitions)
}
