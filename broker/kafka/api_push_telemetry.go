package kafka

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/splashdam/splashdam/broker/record"
)

// PushTelemetry takes a client's metrics (KIP-714), which nobody has asked for: they are
// checked and dropped.
//
//	0    flexible
func pushTelemetryAPI() *api {
	return waiting(kmsg.PushTelemetry, 0, 0, "16 4 1 1 b", (*call).pushTelemetry)
}

func (c *call) pushTelemetry(_ context.Context, req *kmsg.PushTelemetryRequest) kmsg.Response {
	resp := kmsg.NewPtrPushTelemetryResponse()
	resp.ErrorCode = c.code(checkTelemetry(req))
	return resp
}

func checkTelemetry(req *kmsg.PushTelemetryRequest) error {
	switch codec := record.Codec(req.CompressionType); {
	case req.ClientInstanceID == [16]byte{}:
		return fmt.Errorf("metrics of no client: %w", kerr.InvalidRequest)
	case req.SubscriptionID != noMetrics:
		return fmt.Errorf("subscription %d, the current one is %d: %w", req.SubscriptionID, noMetrics, kerr.UnknownSubscriptionID)
	case codec < record.None || codec > record.Zstd:
		return fmt.Errorf("metrics compressed with %v: %w", codec, kerr.UnsupportedCompressionType)
	case len(req.Metrics) > maxTelemetryBytes:
		return fmt.Errorf("%d bytes of metrics, at most %d may come at once: %w", len(req.Metrics), maxTelemetryBytes, kerr.TelemetryTooLarge)
	}
	return nil
}
