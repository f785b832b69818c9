package partition

import (
	"encoding/binary"
	"testing"

	"github.com/splashdam/splashdam/broker/record"
)

func openPartition(t testing.TB, table *Table, p record.PartitionID) {
	t.Helper()
	if err := table.Apply(p, OpenCommand([16]byte{byte(p)}, int32(p)), 0); err != nil {
		t.Fatal(err)
	}
}

// sequenced is a batch of n records as a producer sends it; producer -1 is none.
func sequenced(producer int64, epoch int16, first int32, n int) record.Batch {
	o := record.BuildOptions{BaseTimestamp: 1000, ProducerID: producer, ProducerEpoch: epoch, BaseSequence: first}
	return record.Build(o, make([]record.Record, n))
}

// setSequence changes the first sequence of a batch. Nothing here looks at its CRC.
func setSequence(b record.Batch, first int32) { binary.BigEndian.PutUint32(b[53:], uint32(first)) }

// inTransaction is sequenced, as part of a transaction.
func inTransaction(producer int64, epoch int16, first int32, n int) record.Batch {
	o := record.BuildOptions{BaseTimestamp: 1000, ProducerID: producer, ProducerEpoch: epoch, BaseSequence: first, Transactional: true}
	return record.Build(o, make([]record.Record, n))
}

// marker is the control batch that ends a producer's transaction.
func marker(producer int64, epoch int16, kind int16) record.Batch {
	o := record.BuildOptions{
		BaseTimestamp: 1000, ProducerID: producer, ProducerEpoch: epoch, BaseSequence: -1, Transactional: true, Control: true,
	}
	return record.Build(o, []record.Record{{Key: []byte{0, 0, byte(uint16(kind) >> 8), byte(kind)}, Value: make([]byte, 6)}})
}
