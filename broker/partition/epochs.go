package partition

import "slices"

// maxEpochs is how many leader epochs a partition remembers. A partition whose
// log start never moves would otherwise gather one for every election; who asks
// for a forgotten one is told where the oldest remembered one begins.
const maxEpochs = 64

// epochs lists the leader epochs under which a partition was written, oldest
// first: both numbers rise. Elements are never changed, only appended and cut
// off in front, so a copy of the slice is a snapshot.
type epochs []epochStart

// epochStart is the offset of the first batch that was written under an epoch.
type epochStart struct {
	epoch int32
	start int64
}

// begin notes that a batch at offset was written under epoch.
func (e epochs) begin(epoch int32, offset int64) epochs {
	if len(e) > 0 && e[len(e)-1].epoch >= epoch {
		return e
	}
	e = append(e, epochStart{epoch, offset})
	return e[max(0, len(e)-maxEpochs):]
}

// from forgets the epochs that end at or before offset. The newest one stays.
func (e epochs) from(offset int64) epochs {
	for len(e) > 1 && e[1].start <= offset {
		e = e[1:]
	}
	return e
}

// end answers OffsetForLeaderEpoch (KIP-320): the largest epoch not above the
// given one and the offset behind its last batch, where last is the end of the
// partition. An epoch older than all has ended where the oldest begins.
func (e epochs) end(epoch int32, last int64) (int32, int64) {
	i, found := slices.BinarySearchFunc(e, epoch, func(s epochStart, epoch int32) int {
		return int(int64(s.epoch) - int64(epoch))
	})
	if found {
		i++ // i is now the first epoch above the given one
	}
	offset := last
	if i < len(e) {
		offset = e[i].start
	}
	if i > 0 {
		epoch = e[i-1].epoch
	}
	return epoch, offset
}
