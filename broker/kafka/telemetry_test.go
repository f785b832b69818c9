package kafka

import (
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestAClientOfTelemetryGetsAnIDOnceAndKeepsIt(t *testing.T) {
	w := to(t, newFake())
	seen := make(map[[16]byte]bool)
	for range 20 {
		req := at(kmsg.NewPtrGetTelemetrySubscriptionsRequest(), 0)
		resp := ask[*kmsg.GetTelemetrySubscriptionsResponse](w, req)
		id := resp.ClientInstanceID
		if id[6]>>4 != 4 || id[8]>>6 != 2 || seen[id] {
			t.Fatalf("%x is no random UUID, or came before", id)
		}
		seen[id] = true
		if resp.ErrorCode != 0 || len(resp.RequestedMetrics) > 0 || resp.PushIntervalMillis <= 0 || resp.TelemetryMaxBytes <= 0 {
			t.Errorf("%+v", resp)
		}
		if !slices.Equal(resp.AcceptedCompressionTypes, []int8{4, 3, 1, 2}) {
			t.Errorf("codecs %v", resp.AcceptedCompressionTypes)
		}
		req.ClientInstanceID = id
		if again := ask[*kmsg.GetTelemetrySubscriptionsResponse](w, req); again.ClientInstanceID != id || again.SubscriptionID != resp.SubscriptionID {
			t.Errorf("%x became %x, subscription %d became %d", id, again.ClientInstanceID, resp.SubscriptionID, again.SubscriptionID)
		}
	}
}

func TestMetricsAreCheckedAndDropped(t *testing.T) {
	w := to(t, newFake())
	subscribed := ask[*kmsg.GetTelemetrySubscriptionsResponse](w, at(kmsg.NewPtrGetTelemetrySubscriptionsRequest(), 0))
	for name, c := range map[string]struct {
		change func(*kmsg.PushTelemetryRequest)
		want   *kerr.Error
	}{
		"none":                       {func(*kmsg.PushTelemetryRequest) {}, nil},
		"some":                       {func(r *kmsg.PushTelemetryRequest) { r.Metrics = []byte("anything") }, nil},
		"as many as may come":        {func(r *kmsg.PushTelemetryRequest) { r.Metrics = make([]byte, subscribed.TelemetryMaxBytes) }, nil},
		"one byte more":              {func(r *kmsg.PushTelemetryRequest) { r.Metrics = make([]byte, subscribed.TelemetryMaxBytes+1) }, kerr.TelemetryTooLarge},
		"the last ones":              {func(r *kmsg.PushTelemetryRequest) { r.Terminating = true }, nil},
		"of nobody":                  {func(r *kmsg.PushTelemetryRequest) { r.ClientInstanceID = [16]byte{} }, kerr.InvalidRequest},
		"for another subscription":   {func(r *kmsg.PushTelemetryRequest) { r.SubscriptionID++ }, kerr.UnknownSubscriptionID},
		"by the last codec":          {func(r *kmsg.PushTelemetryRequest) { r.CompressionType = 4 }, nil},
		"by one that does not exist": {func(r *kmsg.PushTelemetryRequest) { r.CompressionType = 5 }, kerr.UnsupportedCompressionType},
		"by one below the first":     {func(r *kmsg.PushTelemetryRequest) { r.CompressionType = -1 }, kerr.UnsupportedCompressionType},
	} {
		req := at(kmsg.NewPtrPushTelemetryRequest(), 0)
		req.ClientInstanceID, req.SubscriptionID = subscribed.ClientInstanceID, subscribed.SubscriptionID
		c.change(req)
		want := int16(0)
		if c.want != nil {
			want = c.want.Code
		}
		if got := ask[*kmsg.PushTelemetryResponse](w, req).ErrorCode; got != want {
			t.Errorf("%s: error %d, want %d", name, got, want)
		}
	}
}
