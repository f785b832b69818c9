package kafka

import (
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/splashdam/splashdam/broker/acl"
)

// What a request names costs it a few bytes, and the answer as many as there are to tell:
// a request of 5 MB that names one topic of 1,000 partitions by its id 262,144 times would
// be answered with 13 GB.
func TestWhatIsNamedManyTimesIsAnsweredOnce(t *testing.T) {
	f := newFake()
	id := f.add("t", 3).ID
	f.offsets["g"] = map[TopicPartition]kmsg.OffsetCommitRequestTopicPartition{{Topic: "t", Partition: 1}: {Partition: 1, Offset: 7}}
	w := to(t, f)
	const times = 50

	metadata := at(kmsg.NewPtrMetadataRequest(), 12)
	metadata.Topics = slices.Repeat([]kmsg.MetadataRequestTopic{{TopicID: id}}, times)
	if n := len(ask[*kmsg.MetadataResponse](w, metadata).Topics); n != 1 {
		t.Errorf("Metadata by id: %d answers", n)
	}
	configs := at(kmsg.NewPtrDescribeConfigsRequest(), 4)
	configs.Resources = slices.Repeat([]kmsg.DescribeConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: "t"}}, times)
	if n := len(ask[*kmsg.DescribeConfigsResponse](w, configs).Resources); n != 1 {
		t.Errorf("DescribeConfigs: %d answers", n)
	}
	producers := at(kmsg.NewPtrDescribeProducersRequest(), 0)
	producers.Topics = slices.Repeat([]kmsg.DescribeProducersRequestTopic{{Topic: "t", Partitions: []int32{1, 1}}}, times)
	n := 0
	for _, x := range ask[*kmsg.DescribeProducersResponse](w, producers).Topics {
		n += len(x.Partitions)
	}
	if n != 1 {
		t.Errorf("DescribeProducers: %d answers", n)
	}
	transactions := at(kmsg.NewPtrDescribeTransactionsRequest(), 0)
	transactions.TransactionalIDs = slices.Repeat([]string{"x"}, times)
	if n := len(ask[*kmsg.DescribeTransactionsResponse](w, transactions).TransactionStates); n != 1 {
		t.Errorf("DescribeTransactions: %d answers", n)
	}
	groups := at(kmsg.NewPtrDescribeGroupsRequest(), 5)
	groups.Groups = slices.Repeat([]string{"g"}, times)
	if n := len(ask[*kmsg.DescribeGroupsResponse](w, groups).Groups); n != 1 {
		t.Errorf("DescribeGroups: %d answers", n)
	}
	consumers := at(kmsg.NewPtrConsumerGroupDescribeRequest(), 0)
	consumers.Groups = slices.Repeat([]string{"g"}, times)
	if n := len(ask[*kmsg.ConsumerGroupDescribeResponse](w, consumers).Groups); n != 1 {
		t.Errorf("ConsumerGroupDescribe: %d answers", n)
	}

	offsets := at(kmsg.NewPtrOffsetFetchRequest(), 8)
	all, one := kmsg.NewOffsetFetchRequestGroup(), kmsg.NewOffsetFetchRequestGroup()
	all.Group, one.Group = "g", "g"
	one.Topics = slices.Repeat([]kmsg.OffsetFetchRequestGroupTopic{{Topic: "t", Partitions: []int32{1, 1}}}, times)
	offsets.Groups = slices.Repeat([]kmsg.OffsetFetchRequestGroup{all, one}, times)
	n = 0
	for _, g := range ask[*kmsg.OffsetFetchResponse](w, offsets).Groups {
		for _, x := range g.Topics {
			n += len(x.Partitions)
		}
	}
	if n != 2 { // with the others, and alone
		t.Errorf("OffsetFetch: %d answers", n)
	}
	old := at(kmsg.NewPtrOffsetFetchRequest(), 7)
	old.Group = "g"
	old.Topics = slices.Repeat([]kmsg.OffsetFetchRequestTopic{{Topic: "t", Partitions: []int32{1, 1}}}, times)
	n = 0
	for _, x := range ask[*kmsg.OffsetFetchResponse](w, old).Topics {
		n += len(x.Partitions)
	}
	if n != 1 {
		t.Errorf("OffsetFetch for one group: %d answers", n)
	}
}

// counting counts how often a topic is described.
type counting struct {
	*fake
	described int
}

func (c *counting) Topic(name string) (Topic, error) {
	c.described++
	return c.fake.Topic(name)
}

func TestALargeTopicIsDescribedOnceInARequest(t *testing.T) {
	c := &counting{fake: newFake()}
	c.add("t", fewPartitions+1)
	w := to(t, c)
	list := at(kmsg.NewPtrListOffsetsRequest(), 5)
	for n := range int32(50) {
		p := kmsg.NewListOffsetsRequestTopicPartition()
		p.Partition, p.Timestamp = n, timestampLatest
		list.Topics = append(list.Topics, kmsg.ListOffsetsRequestTopic{Topic: "t", Partitions: []kmsg.ListOffsetsRequestTopicPartition{p}})
	}
	if got := ask[*kmsg.ListOffsetsResponse](w, list); len(got.Topics) != 50 {
		t.Errorf("%d answers", len(got.Topics))
	}
	if c.described != 1 {
		t.Errorf("described %d times", c.described)
	}
}

func TestATransactionsPatternIsBoundedInWhatItUnfoldsTo(t *testing.T) {
	w := to(t, newFake())
	req := at(kmsg.NewPtrListTransactionsRequest(), 2)
	for pattern, want := range map[string]*kerr.Error{"x.*": nil, strings.Repeat("[a-z]{1000}", 3000): kerr.InvalidRegularExpression} {
		req.TransactionalIDPattern = &pattern
		if got := ask[*kmsg.ListTransactionsResponse](w, req); got.ErrorCode != Code(asError(want)) {
			t.Errorf("%.20q: code %d, want %v", pattern, got.ErrorCode, want)
		}
	}
}

func asError(k *kerr.Error) error {
	if k == nil {
		return nil
	}
	return k
}

func TestTheTopicsOfAnElectionAreNotToldToWhoMayNotElect(t *testing.T) {
	f := newFake()
	f.add("secret", 2)
	policy, err := acl.NewPolicy("", false)
	if err != nil {
		t.Fatal(err)
	}
	f.access = acl.Authorizer{Policy: policy}
	w := to(t, f)
	for v := int16(0); v <= 2; v++ {
		if got := ask[*kmsg.ElectLeadersResponse](w, at(kmsg.NewPtrElectLeadersRequest(), v)); len(got.Topics) != 0 {
			t.Errorf("v%d: the answer names %q", v, got.Topics[0].Topic)
		}
	}
}
