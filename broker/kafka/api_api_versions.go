package kafka

import (
	"context"
	"fmt"
	"regexp"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ApiVersions says what this server answers, and is the first thing most clients
// ask.
//
//	0
//	1    throttle time
//	3    flexible (the answer's header is not), the client's name and version (KIP-511)
//	4    features may have a lowest version of 0 (KIP-584)
//	5    whom the client believes to be talking to (KIP-1242)
//
// A version from the future is answered with UNSUPPORTED_VERSION in the form of
// version 0, which lists what there is, so that the client can ask again.
func apiVersionsAPI() *api {
	a := waiting(kmsg.ApiVersions, 0, 5, "s:3 s:3 S:5 4:5", (*call).apiVersions)
	a.greets = true
	return a
}

// features are Kafka's features that clients choose their ways by, each with the level
// that it is finalised at.
var features = []struct {
	name  string
	level int16
}{
	{"group.version", 1},       // KIP-848: groups of the consumer protocol
	{"transaction.version", 2}, // KIP-890: an epoch per transaction, which Produce begins
}

var clientSoftware = regexp.MustCompile(`^[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?$`)

func (c *call) apiVersions(_ context.Context, req *kmsg.ApiVersionsRequest) kmsg.Response {
	if err := c.checkApiVersions(req); err != nil {
		resp := kmsg.NewPtrApiVersionsResponse() // with nothing else in it
		resp.ErrorCode = c.code(err)
		return resp
	}
	return c.advertised()
}

func (c *call) checkApiVersions(req *kmsg.ApiVersionsRequest) error {
	if req.Version >= 3 {
		for _, s := range []string{req.ClientSoftwareName, req.ClientSoftwareVersion} {
			if !clientSoftware.MatchString(s) {
				return fmt.Errorf("client software name or version %q: %w", s, kerr.InvalidRequest)
			}
		}
	}
	switch {
	case req.Version < 5 || req.ClusterID == nil && req.NodeID == -1:
		return nil
	case req.ClusterID == nil || req.NodeID == -1:
		return fmt.Errorf("cluster id and node id belong together: %w", kerr.InvalidRequest)
	case *req.ClusterID != c.backend.ClusterID() || req.NodeID != c.backend.NodeID():
		return fmt.Errorf("this is node %d of cluster %q, not node %d of %q: %w", c.backend.NodeID(), c.backend.ClusterID(), req.NodeID, *req.ClusterID, kerr.RebootstrapRequired)
	}
	return nil
}

func (c *call) unknownApiVersions() reply {
	return func(context.Context) kmsg.Response {
		resp := c.advertised()
		resp.ErrorCode = kerr.UnsupportedVersion.Code
		return resp // of version 0
	}
}

func (c *call) advertised() *kmsg.ApiVersionsResponse {
	resp := kmsg.NewPtrApiVersionsResponse()
	for _, a := range c.apis.sorted() {
		k := kmsg.NewApiVersionsResponseApiKey()
		k.ApiKey, k.MinVersion, k.MaxVersion = int16(a.key), a.advertisedMin, a.max
		resp.ApiKeys = append(resp.ApiKeys, k)
	}
	for _, f := range features {
		supported := kmsg.NewApiVersionsResponseSupportedFeature()
		supported.Name, supported.MinVersion, supported.MaxVersion = f.name, 0, f.level
		if c.header.version >= 4 { // older clients take a lowest version of 0 for an error (KIP-584)
			resp.SupportedFeatures = append(resp.SupportedFeatures, supported)
		}
		finalised := kmsg.NewApiVersionsResponseFinalizedFeature()
		finalised.Name, finalised.MinVersionLevel, finalised.MaxVersionLevel = f.name, f.level, f.level
		resp.FinalizedFeatures = append(resp.FinalizedFeatures, finalised)
	}
	resp.FinalizedFeaturesEpoch = 0
	return resp
}
