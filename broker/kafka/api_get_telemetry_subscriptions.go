package kafka

import (
	"context"
	"crypto/rand"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/splashdam/splashdam/broker/record"
)

// GetTelemetrySubscriptions tells a client which of its metrics are wanted (KIP-714):
// none, as in a Kafka where nobody has asked for some. Kafka does not advertise the two
// APIs before a plugin takes the metrics; here they are, so that no client looks for
// another way.
//
//	0    flexible
func getTelemetrySubscriptionsAPI() *api {
	return waiting(kmsg.GetTelemetrySubscriptions, 0, 0, "16", (*call).getTelemetrySubscriptions)
}

const (
	// noMetrics is the id of the only subscription: to nothing.
	noMetrics int32 = 1
	// telemetryPauseMs is how long a client waits before it asks again, Kafka's.
	telemetryPauseMs = 5 * 60 * 1000
	// maxTelemetryBytes bounds what a client may push at once, Kafka's
	// telemetry.max.bytes.
	maxTelemetryBytes = 1 << 20
)

func (c *call) getTelemetrySubscriptions(_ context.Context, req *kmsg.GetTelemetrySubscriptionsRequest) kmsg.Response {
	resp := kmsg.NewPtrGetTelemetrySubscriptionsResponse()
	resp.ClientInstanceID = req.ClientInstanceID
	if req.ClientInstanceID == [16]byte{} {
		resp.ClientInstanceID = newClientInstance()
	}
	resp.SubscriptionID = noMetrics
	for _, codec := range []record.Codec{record.Zstd, record.LZ4, record.Gzip, record.Snappy} {
		resp.AcceptedCompressionTypes = append(resp.AcceptedCompressionTypes, int8(codec))
	}
	resp.PushIntervalMillis, resp.TelemetryMaxBytes = telemetryPauseMs, maxTelemetryBytes
	resp.DeltaTemporality = true
	resp.RequestedMetrics = []string{}
	return resp
}

// newClientInstance is a random UUID (RFC 9562, version 4).
func newClientInstance() (id [16]byte) {
	rand.Read(id[:]) // never fails
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	return id
}
