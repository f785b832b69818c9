package kafka

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

func TestEveryAdvertisedVersionIsAnswered(t *testing.T) {
	s := serverOf(t, newFake(), Limits{}, Events{})
	for _, a := range s.apis.sorted() {
		for v := a.min; v <= a.max; v++ {
			t.Run(fmt.Sprintf("%s v%d", a.key.Name(), v), func(t *testing.T) {
				req := a.key.Request()
				if d, ok := req.(interface{ Default() }); ok {
					d.Default()
				}
				if p, ok := req.(*kmsg.ProduceRequest); ok {
					p.Acks = -1 // with 0 there is no answer
				}
				w := connect(t, context.Background(), s)
				ask[kmsg.Response](w, at(req, v))
			})
		}
	}
}

// A client that is told of a Kafka's version (api_version of kafka-python) does not
// ask for ours: it sends what that Kafka takes.
func TestEveryAPIIsServedInTheVersionsOfKafka43(t *testing.T) {
	compared := 0
	for _, a := range newAPITable().sorted() {
		newest, ok := kversion.V4_3_0().LookupMaxKeyVersion(int16(a.key))
		if !ok {
			continue
		}
		compared++
		if a.max < newest {
			t.Errorf("%s is served up to version %d, and by Kafka 4.3 up to %d", a.key.Name(), a.max, newest)
		}
	}
	if compared < 50 {
		t.Errorf("only %d APIs are in Kafka 4.3", compared)
	}
}

func TestApiVersionsAdvertisesTheTable(t *testing.T) {
	w := to(t, newFake())
	req := kmsg.NewPtrApiVersionsRequest()
	req.ClientSoftwareName, req.ClientSoftwareVersion = "a-test", "1.0"
	resp := ask[*kmsg.ApiVersionsResponse](w, at(req, 3))
	table := newAPITable()
	if resp.ErrorCode != 0 || len(resp.ApiKeys) != len(table) {
		t.Fatalf("error %d, %d keys, want %d", resp.ErrorCode, len(resp.ApiKeys), len(table))
	}
	for _, k := range resp.ApiKeys {
		a := table[k.ApiKey]
		if a == nil || a.advertisedMin != k.MinVersion || a.max != k.MaxVersion {
			t.Errorf("%s: %d to %d is advertised", kmsg.NameForKey(k.ApiKey), k.MinVersion, k.MaxVersion)
		}
		if max := kmsg.Key(k.ApiKey).Request().MaxVersion(); k.MaxVersion > max {
			t.Errorf("%s: %d is advertised, kmsg ends at %d", kmsg.NameForKey(k.ApiKey), k.MaxVersion, max)
		}
	}
	if len(resp.SupportedFeatures) != 0 {
		t.Errorf("version 3 takes a lowest level of 0 for an error, and gets %v", resp.SupportedFeatures)
	}
	resp = ask[*kmsg.ApiVersionsResponse](w, at(req, 4))
	if len(resp.FinalizedFeatures) != len(features) || len(resp.SupportedFeatures) != len(features) || resp.FinalizedFeaturesEpoch != 0 {
		t.Fatalf("features: %+v", resp)
	}
	for i, f := range features {
		s, l := resp.SupportedFeatures[i], resp.FinalizedFeatures[i]
		if s.Name != f.name || s.MinVersion != 0 || s.MaxVersion != f.level || l.Name != f.name || l.MinVersionLevel != f.level || l.MaxVersionLevel != f.level {
			t.Errorf("%s: %+v %+v", f.name, s, l)
		}
	}
}

// The client reads the answer before it knows what the server speaks.
func TestApiVersionsOfTheFutureIsAnsweredInVersionZero(t *testing.T) {
	w := to(t, newFake())
	w.write([]byte{0, 0, 0, 12, 0, 18, 0, 99, 0, 0, 0, 7, 0xff, 0xff, 1, 2})
	corr, body, err := w.frame()
	if err != nil || corr != 7 {
		t.Fatalf("correlation %d, %v", corr, err)
	}
	resp := kmsg.NewPtrApiVersionsResponse()
	if err := resp.ReadFrom(body); err != nil {
		t.Fatal(err)
	}
	if resp.ErrorCode != kerr.UnsupportedVersion.Code || len(resp.ApiKeys) == 0 {
		t.Fatalf("error %d with %d keys", resp.ErrorCode, len(resp.ApiKeys))
	}
	// The connection goes on.
	ask[*kmsg.ApiVersionsResponse](w, at(kmsg.NewPtrApiVersionsRequest(), 0))
}

func TestApiVersionsChecksWhoIsTalkingToWhom(t *testing.T) {
	w := to(t, newFake())
	right, wrong := "cluster-of-one", "another"
	for _, c := range []struct {
		software string
		cluster  *string
		node     int32
		want     int16
	}{
		{"ok", nil, -1, 0},
		{"ok", &right, 1, 0},
		{"ok", &wrong, 1, kerr.RebootstrapRequired.Code},
		{"ok", &right, 2, kerr.RebootstrapRequired.Code},
		{"ok", &right, -1, kerr.InvalidRequest.Code},
		{"", nil, -1, kerr.InvalidRequest.Code},
		{"-no", nil, -1, kerr.InvalidRequest.Code},
	} {
		req := kmsg.NewPtrApiVersionsRequest()
		req.ClientSoftwareName, req.ClientSoftwareVersion = c.software, "1"
		req.ClusterID, req.NodeID = c.cluster, c.node
		if got := ask[*kmsg.ApiVersionsResponse](w, at(req, 5)).ErrorCode; got != c.want {
			t.Errorf("%q, node %d: error %d, want %d", c.software, c.node, got, c.want)
		}
	}
}

func TestWhatIsNotServedClosesTheConnection(t *testing.T) {
	for name, req := range map[string]kmsg.Request{
		"a version of the future": at(kmsg.NewPtrMetadataRequest(), 99),
		"Produce before v3":       at(kmsg.NewPtrProduceRequest(), 2),
		"Fetch before v4":         at(kmsg.NewPtrFetchRequest(), 3),
		"an API that is not":      at(kmsg.NewPtrStopReplicaRequest(), 1),
	} {
		t.Run(name, func(t *testing.T) {
			w := to(t, newFake())
			w.send(req)
			w.mustEnd(ErrUnsupported)
		})
	}
}

// documented is the table that docs/protocol.md must have.
func documented() string {
	var b strings.Builder
	b.WriteString("| key | API | versions |\n|---:|---|---|\n")
	for _, a := range newAPITable().sorted() {
		note := ""
		if a.advertisedMin != a.min {
			note = fmt.Sprintf(" (advertised from %d)", a.advertisedMin)
		}
		fmt.Fprintf(&b, "| %d | %s | %d to %d%s |\n", a.key, a.key.Name(), a.min, a.max, note)
	}
	return b.String()
}

func TestTheDocumentedTableIsTheOneServed(t *testing.T) {
	text, err := os.ReadFile("../../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), documented()) {
		t.Errorf("docs/protocol.md should have this table:\n%s", documented())
	}
}
