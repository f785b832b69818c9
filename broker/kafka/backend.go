package kafka

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/splashdam/splashdam/broker/acl"
	"github.com/splashdam/splashdam/broker/quota"
	"github.com/splashdam/splashdam/broker/record"
)

// Backend is the node behind the protocol. This package parses, checks what can
// be checked from the request alone, calls, and maps what comes back; every rule
// lives behind these interfaces.
//
// Errors carry a *kerr.Error in their chain where Kafka has a code for what
// happened; errors.go maps the others. All methods may be called concurrently.
type Backend interface {
	Cluster
	Partitions
	Groups
	Producers
	Transactions
	Users
	Access
	Quotas
}

// Node is a broker as clients of one listener reach it.
type Node struct {
	ID   int32
	Host string
	Port int32
	Rack string
}

// Quorum is the replicas of the cluster's metadata. HighWatermark is what is behind the
// last entry that is committed.
type Quorum struct {
	Leader, Epoch     int32
	HighWatermark     int64
	Voters, Observers []QuorumReplica
}

// QuorumReplica is one of them. LogEnd is what is behind the last entry that it is known
// to have; when it was heard of last, and when it had all, are in ms, -1 where that is not
// known.
type QuorumReplica struct {
	Node                int32
	LogEnd              int64
	HeardMs, CaughtUpMs int64
}

// Topic is what a client may know of a topic. It is a snapshot: the slices are
// shared and must not be changed.
type Topic struct {
	Name     string
	ID       [16]byte
	Internal bool
	// Partitions by number.
	Partitions []PartitionInfo
	Config     TopicConfig
}

// PartitionInfo is a partition's place in the cluster. Leader is -1, and Err is
// kerr.LeaderNotAvailable, while nobody leads.
type PartitionInfo struct {
	Leader      int32
	LeaderEpoch int32
	Replicas    []int32
	ISR         []int32
	Offline     []int32
	Err         error
}

// TopicConfig is the part of a topic's configuration that a produce request is
// checked against. Durations are in ms, sizes in bytes.
type TopicConfig struct {
	MaxMessageBytes   int   // of one batch as sent: Kafka's max.message.bytes
	LogAppendTime     bool  // message.timestamp.type
	TimestampBeforeMs int64 // message.timestamp.before.max.ms
	TimestampAfterMs  int64 // message.timestamp.after.max.ms
}

// NewTopic is a topic to create. Partitions and ReplicationFactor of -1 mean the
// broker's defaults. Assignment, if not nil, gives the replicas of every partition.
type NewTopic struct {
	Name              string
	Partitions        int32
	ReplicationFactor int16
	Assignment        map[int32][]int32
	Configs           map[string]*string
}

// ConfigResource is what has settings: a topic, a group, a broker by its id, or, without a
// name, all brokers.
type ConfigResource struct {
	Type kmsg.ConfigResourceType
	Name string
}

// ConfigEntry is one setting of a resource.
type ConfigEntry struct {
	Name      string
	Value     *string
	Source    kmsg.ConfigSource
	Synonyms  []ConfigSynonym // where its value comes from, the one in force first
	Type      kmsg.ConfigType
	ReadOnly  bool
	Sensitive bool
	Doc       string
}

// ConfigSynonym is what a setting has from one source, by its name there.
type ConfigSynonym struct {
	Name   string
	Value  string
	Source kmsg.ConfigSource
}

// ConfigChanges are changes of a resource's settings. Replace resets besides what the
// resource has of its own and no change names.
type ConfigChanges struct {
	Changes      []ConfigChange
	Replace      bool
	ValidateOnly bool
}

// ConfigChange sets or resets one setting, or adds to a list or takes from it.
type ConfigChange struct {
	Name  string
	Op    kmsg.IncrementalAlterConfigOp
	Value *string
}

// Cluster answers what there is and changes it. Changes return when they are
// committed and this node answers by them.
type Cluster interface {
	ClusterID() string
	NodeID() int32
	// ControllerID is the node that leads the metadata shard, -1 if none does.
	ControllerID() int32
	// Quorum errors with kerr.NotLeaderForPartition where another node leads the
	// metadata.
	Quorum(ctx context.Context) (Quorum, error)
	// Nodes lists the brokers by the addresses advertised for a listener.
	Nodes(listener string) []Node
	// Topics lists all topics, by name.
	Topics() []Topic
	// Topic errors with kerr.UnknownTopicOrPartition or kerr.InvalidTopicException.
	Topic(name string) (Topic, error)
	// TopicByID errors with kerr.UnknownTopicID.
	TopicByID(id [16]byte) (Topic, error)
	// AutoCreate is called for a topic that a client asked for and that is not
	// there. It begins the creation, unless that is under way, or says why it may not,
	// and does not wait; the client asks again (kerr.LeaderNotAvailable).
	AutoCreate(name string) (begun bool, err error)
	// CreateTopics returns a topic or an error for each asked for, in order.
	CreateTopics(ctx context.Context, topics []NewTopic, validateOnly bool) []CreatedTopic
	// DeleteTopics returns an error or nil for each name, in order.
	DeleteTopics(ctx context.Context, names []string) []error
	// CreatePartitions raises the number of partitions to total. The assignment, if
	// not nil, gives the replicas of the new ones in order.
	CreatePartitions(ctx context.Context, topic string, total int32, assignment [][]int32, validateOnly bool) error
	// Configs describes every setting of a topic, a group or of this broker, by name, and of
	// all brokers what is set for them.
	Configs(r ConfigResource) ([]ConfigEntry, error)
	// ConfiguredGroups lists the groups that have settings of their own, by name.
	ConfiguredGroups() []string
	// AlterConfigs makes all of the changes or none.
	AlterConfigs(ctx context.Context, r ConfigResource, c ConfigChanges) error
}

// CreatedTopic is the outcome for one NewTopic.
type CreatedTopic struct {
	Topic   Topic
	Configs []ConfigEntry
	Err     error
}

// AppendRequest is one batch for one partition. Batch has passed
// record.Batch.Validate and the topic's limits; what its records are has not been
// looked at. The backend may change it in place and owns it until done is called.
type AppendRequest struct {
	Topic     string
	Partition int32
	Batch     record.Batch
	// Acks is 1 (written by the leader) or -1 (committed); 0 is treated as 1 and
	// nobody reads the answer.
	Acks      int16
	Principal string
	// TransactionalID is that of a batch of a transaction. AddsPartition says that the
	// partition becomes part of the transaction with the batch (KIP-890), else it must
	// be already.
	TransactionalID string
	AddsPartition   bool
}

// Appended is the outcome. BaseOffset is -1 for a batch of held messages, which
// have no offset yet. LogAppendTime is -1 under CreateTime.
type Appended struct {
	BaseOffset    int64
	LogAppendTime int64
	LogStart      int64
	// RecordErrors say which records made the whole batch fail.
	RecordErrors []RecordError
	Err          error
}

// RecordError blames one record of a batch, by its place in it.
type RecordError struct {
	Record  int32
	Message string
}

// FetchRequest asks for stored batches of one partition from an offset on.
type FetchRequest struct {
	Topic         string
	Partition     int32
	Offset        int64
	MaxBytes      int
	ReadCommitted bool
	// LeaderEpoch is the client's idea of the current leader epoch, -1 for none
	// (KIP-320): kerr.FencedLeaderEpoch or kerr.UnknownLeaderEpoch if it is wrong.
	LeaderEpoch int32
	// LastFetchedEpoch, if not -1, is checked for a diverged log (KIP-595).
	LastFetchedEpoch int32
	// AtLeastOne lets the first batch through even where it exceeds MaxBytes (KIP-74).
	AtLeastOne bool
	// Grow returns dst, moved to where there is room for n bytes more.
	Grow func(dst []byte, n int) []byte
}

// Fetched is the outcome of one FetchRequest. The bounds are set even with
// kerr.OffsetOutOfRange. The records are whole batches as stored; the first may
// begin before the offset asked for.
type Fetched struct {
	HighWatermark int64
	LastStable    int64
	LogStart      int64
	Records       []byte
	// Aborted are the aborted transactions of which there may be batches among Records:
	// for read_committed only, in any order.
	Aborted []AbortedTransaction
	// Diverging, if its Epoch is not -1, tells where the client's log left ours.
	DivergingEpoch int32
	DivergingEnd   int64
	Err            error
}

// AbortedTransaction is a transaction of a producer in a partition, from the offset of
// its first batch to the next marker of the producer.
type AbortedTransaction struct {
	Producer int64
	First    int64
}

// TopicPartition names a partition as clients do.
type TopicPartition struct {
	Topic     string
	Partition int32
}

// Partitions stores and serves batches.
type Partitions interface {
	// Append takes the batches of one connection in the order of the calls. It
	// returns at once; done is called exactly once, from another goroutine or
	// from within, and must not block.
	Append(req AppendRequest, done func(Appended))
	// Fetch appends what it reads to dst and returns it as Records.
	Fetch(req FetchRequest, dst []byte) Fetched
	// Watch sends to wake (which has room for one) whenever any of the partitions
	// may have more to read or its bounds changed, until stop is called.
	Watch(ps []TopicPartition, wake chan<- struct{}) (stop func())
	// OffsetFor answers ListOffsets: the first offset whose timestamp is at or
	// behind the given one, or what a special timestamp (-1 latest, -2 earliest,
	// -3 max timestamp) means. Offset -1 means there is none.
	OffsetFor(topic string, partition int32, timestamp int64, readCommitted bool, leaderEpoch int32) (offset, ts int64, epoch int32, err error)
	// DeleteRecords moves the beginning of a partition's log up to an offset, or to
	// the high watermark for -1, and returns where it is then. It returns when that
	// is committed.
	DeleteRecords(ctx context.Context, topic string, partition int32, before int64) (logStart int64, err error)
	// PartitionSize is how many bytes the batches of a partition take on this node. It
	// errors with kerr.UnknownTopicOrPartition, or kerr.NotLeaderForPartition where the
	// partition is on other nodes. The first time it counts all batches.
	PartitionSize(ctx context.Context, topic string, partition int32) (int64, error)
	// LogDir is where this node keeps its data, and how many bytes are free there.
	LogDir() (dir string, free int64, err error)
	// EpochEnd answers OffsetForLeaderEpoch (KIP-320).
	EpochEnd(topic string, partition int32, currentEpoch, epoch int32) (endEpoch int32, endOffset int64, err error)
}

// Client is who sent a request.
type Client struct {
	ID        string // client.id
	Host      string // "/127.0.0.1" as Kafka prints it
	Principal string // "User:ANONYMOUS" without authentication
}

// Groups hosts consumer groups. The methods fill in every field of the answer,
// errors included; they wait for what the protocol makes a client wait for
// (a rebalance, a commit) and end early with the context.
type Groups interface {
	// Coordinator finds the node that coordinates a group.
	Coordinator(ctx context.Context, group string) (nodeID int32, err error)
	JoinGroup(ctx context.Context, c Client, req *kmsg.JoinGroupRequest) *kmsg.JoinGroupResponse
	SyncGroup(ctx context.Context, c Client, req *kmsg.SyncGroupRequest) *kmsg.SyncGroupResponse
	Heartbeat(ctx context.Context, c Client, req *kmsg.HeartbeatRequest) *kmsg.HeartbeatResponse
	LeaveGroup(ctx context.Context, c Client, req *kmsg.LeaveGroupRequest) *kmsg.LeaveGroupResponse
	OffsetCommit(ctx context.Context, c Client, req *kmsg.OffsetCommitRequest) *kmsg.OffsetCommitResponse
	OffsetFetch(ctx context.Context, c Client, req *kmsg.OffsetFetchRequest) *kmsg.OffsetFetchResponse
	ListGroups(ctx context.Context, req *kmsg.ListGroupsRequest) *kmsg.ListGroupsResponse
	DescribeGroups(ctx context.Context, req *kmsg.DescribeGroupsRequest) *kmsg.DescribeGroupsResponse
	DeleteGroups(ctx context.Context, req *kmsg.DeleteGroupsRequest) *kmsg.DeleteGroupsResponse
	OffsetDelete(ctx context.Context, req *kmsg.OffsetDeleteRequest) *kmsg.OffsetDeleteResponse
	ConsumerGroupHeartbeat(ctx context.Context, c Client, req *kmsg.ConsumerGroupHeartbeatRequest) *kmsg.ConsumerGroupHeartbeatResponse
	ConsumerGroupDescribe(ctx context.Context, req *kmsg.ConsumerGroupDescribeRequest) *kmsg.ConsumerGroupDescribeResponse
}

// Access keeps who may do what.
type Access interface {
	// Authorizer decides by what holds now. Each request asks it once, and is decided by
	// one list.
	Authorizer() acl.Authorizer
	// AddACLs adds bindings, each of which acl.Binding.Check found right, and returns an
	// error or nil for each, in order. RemoveACLs removes all or, with an error, some.
	// Both return when that is committed and this node decides by it.
	AddACLs(ctx context.Context, bs []acl.Binding) []error
	RemoveACLs(ctx context.Context, bs []acl.Binding) error
}

// Quotas keeps what clients may take.
type Quotas interface {
	// Quotas are those that hold now.
	Quotas() quota.Table
	// AlterQuotas makes all changes of an entity's quotas, or none, and returns when that
	// is committed. It errors with kerr.InvalidRequest.
	AlterQuotas(ctx context.Context, e quota.Entity, changes []quota.Change, validateOnly bool) error
}

// Producers hands out producer ids.
type Producers interface {
	// InitProducerID gives an idempotent producer an id no other has, whatever it
	// had before: without a transactional id it raises its epoch itself (KIP-360).
	InitProducerID(ctx context.Context) (id int64, epoch int16, err error)
}

// ErrVerification is in the error of a batch about which the coordinator of its
// transaction was asked, and has not said yes.
var ErrVerification = errors.New("asking the coordinator of the transaction")

// Transactions coordinates Kafka's transactions. Changes return when they are committed;
// their errors are those that Kafka's coordinator knows, in the names of newest clients.
type Transactions interface {
	// TransactionCoordinator finds the node that coordinates a transactional id.
	TransactionCoordinator(ctx context.Context, id string) (nodeID int32, err error)
	// InitTransactionalID gives a transactional id a producer id and the next epoch, and
	// fences who had it before. producer and epoch are -1, or what the client has.
	InitTransactionalID(ctx context.Context, id string, timeoutMs int32, producer int64, epoch int16) (int64, int16, error)
	// AddToTransaction makes partitions part of a transaction, all of them or none, or,
	// with verifyOnly, errors with kerr.InvalidTxnState if one of them is not.
	AddToTransaction(ctx context.Context, id string, producer int64, epoch int16, ps []TopicPartition, verifyOnly bool) error
	// AddGroupToTransaction does it for the offsets that will be committed to a group.
	AddGroupToTransaction(ctx context.Context, id string, producer int64, epoch int16, group string) error
	// EndTransaction returns when the decision stands; what it means to partitions
	// follows. With bumps the producer goes on with what is returned (KIP-890).
	EndTransaction(ctx context.Context, id string, producer int64, epoch int16, commit, bumps bool) (int64, int16, error)
	// TxnOffsetCommit fills in every field of the answer, errors included.
	TxnOffsetCommit(ctx context.Context, c Client, req *kmsg.TxnOffsetCommitRequest) *kmsg.TxnOffsetCommitResponse
	// WriteMarkers ends a producer's transaction in one partition, past its coordinator.
	WriteMarkers(ctx context.Context, topic string, partition int32, m MarkerRequest) error
	// Producers lists the producers that a partition knows, by id.
	Producers(topic string, partition int32) ([]ProducerState, error)
	// Transaction errors with kerr.TransactionalIDNotFound.
	Transaction(ctx context.Context, id string) (TransactionState, error)
	// Transactions lists what this node coordinates, by id, without partitions.
	Transactions() ([]TransactionState, error)
}

// MarkerRequest says how a producer's transaction ends. Bumped says that the epoch is
// one that no batch of the transaction has.
type MarkerRequest struct {
	Producer    int64
	Epoch       int16
	Commit      bool
	Coordinator int32
	Bumped      bool
}

// ProducerState is what a partition knows of a producer.
type ProducerState struct {
	ID           int64
	Epoch        int16
	LastSequence int32 // -1 if there is none
	LastUsed     int64 // ms
	Coordinator  int32 // epoch of who ended its last transaction, -1 if nobody has
	Transaction  int64 // first offset of the open one, -1 if there is none
}

// TransactionState is a transactional id as its coordinator knows it.
type TransactionState struct {
	ID         string
	State      string // by Kafka's names
	TimeoutMs  int32
	Started    int64 // ms, -1 without a transaction
	Producer   int64
	Epoch      int16
	Partitions []TopicPartition
}
