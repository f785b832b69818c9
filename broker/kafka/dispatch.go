package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/splashdam/splashdam/broker/acl"
)

// reply is the part of a request that its connection's writer runs. It may wait,
// and ends with ctx. It returns nil where the protocol has no answer (acks=0).
type reply func(ctx context.Context) kmsg.Response

// api is one request this server answers.
type api struct {
	key kmsg.Key
	// min and max are the versions served.
	min, max int16
	// advertisedMin is below min for Produce alone; see api_produce.go.
	advertisedMin int16
	shape         shape
	// keeps is set where the decoded request holds bytes that the Backend may keep.
	keeps bool
	// greets is set where the request may come before a login.
	greets bool
	// needs is what it may ask the authorizer for.
	needs []need
	// start runs in the connection's reader, in the order of arrival, and must not
	// wait.
	start func(c *call, req kmsg.Request) reply
}

// waiting makes an api of a handler that has nothing to do in the reader.
func waiting[Q kmsg.Request](key kmsg.Key, min, max int16, shape string, h func(*call, context.Context, Q) kmsg.Response) *api {
	a := &api{key: key, min: min, max: max, advertisedMin: min, shape: parseShape(shape, firstFlexible(key))}
	a.start = func(c *call, req kmsg.Request) reply {
		return func(ctx context.Context) kmsg.Response { return h(c, ctx, req.(Q)) }
	}
	return a
}

// inOrder makes an api of a handler that has all to do in the reader.
func inOrder[Q kmsg.Request](key kmsg.Key, min, max int16, shape string, h func(*call, Q) reply) *api {
	return &api{
		key: key, min: min, max: max, advertisedMin: min, shape: parseShape(shape, firstFlexible(key)),
		start: func(c *call, req kmsg.Request) reply { return h(c, req.(Q)) },
	}
}

// keeping marks an api whose requests hold bytes that the Backend may keep.
func keeping(a *api) *api {
	a.keeps = true
	return a
}

// firstFlexible is the first version of an API with tagged fields (KIP-482).
func firstFlexible(key kmsg.Key) int16 {
	req := key.Request()
	for v := range req.MaxVersion() + 1 {
		if req.SetVersion(v); req.IsFlexible() {
			return v
		}
	}
	return endOfVersions
}

type apiTable map[int16]*api

// newAPITable is all that this server answers, and what ApiVersions advertises.
func newAPITable() apiTable {
	t := apiTable{}
	for _, a := range []*api{
		produceAPI(), fetchAPI(), listOffsetsAPI(), metadataAPI(),
		offsetCommitAPI(), offsetFetchAPI(), findCoordinatorAPI(),
		joinGroupAPI(), heartbeatAPI(), leaveGroupAPI(), syncGroupAPI(),
		describeGroupsAPI(), listGroupsAPI(), saslHandshakeAPI(), apiVersionsAPI(),
		createTopicsAPI(), deleteTopicsAPI(), deleteRecordsAPI(), initProducerIDAPI(),
		offsetForLeaderEpochAPI(), describeACLsAPI(), createACLsAPI(), deleteACLsAPI(),
		describeConfigsAPI(), alterConfigsAPI(), saslAuthenticateAPI(), createPartitionsAPI(),
		deleteGroupsAPI(), incrementalAlterConfigsAPI(),
		offsetDeleteAPI(), describeClientQuotasAPI(), alterClientQuotasAPI(),
		describeUserScramCredentialsAPI(), alterUserScramCredentialsAPI(), describeClusterAPI(),
		describeLogDirsAPI(), alterReplicaLogDirsAPI(), describeQuorumAPI(), electLeadersAPI(), updateFeaturesAPI(), alterPartitionAssignmentsAPI(), listPartitionReassignmentsAPI(),
		getTelemetrySubscriptionsAPI(), pushTelemetryAPI(), listConfigResourcesAPI(), describeTopicPartitionsAPI(),
		addPartitionsToTxnAPI(), addOffsetsToTxnAPI(), endTxnAPI(), txnOffsetCommitAPI(), writeTxnMarkersAPI(),
		describeProducersAPI(), describeTransactionsAPI(), listTransactionsAPI(),
		consumerGroupHeartbeatAPI(), consumerGroupDescribeAPI(),
	} {
		a.declare()
		t[int16(a.key)] = a
	}
	return t
}

// sorted lists the table by key.
func (t apiTable) sorted() []*api {
	all := make([]*api, 0, len(t))
	for _, a := range t {
		all = append(all, a)
	}
	slices.SortFunc(all, func(a, b *api) int { return int(a.key) - int(b.key) })
	return all
}

// ErrUnsupported is a request for an API or a version that is not served. As in
// Kafka there is no answer to it, since the server cannot know in which form the
// client would read one, and the connection is closed.
var ErrUnsupported = errors.New("unsupported request")

// start decodes a request and runs the part of it that has its place in the
// order of arrival. On an error the connection must be closed, and the frame is
// still the caller's.
func (s *Server) start(c *conn, f *frame) (started *call, err error) {
	h, body, err := readHeader(f.buf)
	if err != nil {
		return nil, err
	}
	call := &call{Server: s, conn: c, client: c.client, header: h, frame: f}
	call.client.ID = h.clientID
	defer call.recoverAs(&err)

	a, ok := s.apis[h.key]
	if !ok {
		return nil, fmt.Errorf("%w: API key %d (%s), version %d, client %q", ErrUnsupported, h.key, kmsg.NameForKey(h.key), h.version, h.clientID)
	}
	call.api = a
	if err := c.login.admits(a, time.Now()); err != nil {
		return nil, err
	}
	if call.authorizer = s.backend.Authorizer(); call.authorizer.Enabled() {
		call.subject = acl.Subject{Principal: call.client.Principal, Host: acl.ParseHost(call.client.Host[1:])}
	}
	if h.version < a.min || h.version > a.max {
		if a.key == kmsg.ApiVersions && h.version >= 0 {
			call.reply = call.unknownApiVersions()
			return call, nil
		}
		return nil, fmt.Errorf("%w: %s: versions %d to %d are served", ErrUnsupported, call.request(), a.min, a.max)
	}
	req := a.key.Request()
	req.SetVersion(h.version)
	if req.IsFlexible() {
		if body, err = skipHeaderTags(body); err != nil {
			return nil, fmt.Errorf("%s: %w", call.request(), err)
		}
	}
	elements, err := a.shape.walk(body, h.version, s.limits.MaxRequestElements)
	if err == nil {
		err = c.weigh(f, elements)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", call.request(), err)
	}
	if err := req.ReadFrom(body); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", call.request(), ErrRequest, err)
	}
	f.keep = a.keeps
	began := time.Now()
	inner := a.start(call, req)
	call.busy = time.Since(began)
	call.reply = func(ctx context.Context) kmsg.Response {
		began := time.Now()
		resp := inner(ctx)
		if works[a.key] {
			call.busy += time.Since(began) - call.idle
		}
		call.worked(call.busy)
		if resp != nil {
			resp.SetVersion(h.version)
			call.told(resp)
		}
		return resp
	}
	return call, nil
}
