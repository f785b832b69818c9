// Package oracle tells a broker scripts of requests and writes down what it answers,
// in a form in which the answers of two brokers can be compared: those of Apache
// Kafka, kept in integration/testdata/oracle, and ours.
//
// A script is a text. Lines that begin in the first column are comments (#) or steps;
// the indented lines below a step are Kafka's answer. Where ours differs on purpose it
// follows, behind the difference's name:
//
//	# A name that is taken.
//	CreateTopics v7 {Topics: [{Topic: o.t, NumPartitions: 1, ReplicationFactor: 1}]}
//	  Topics:
//	  - {Topic: o.t, ErrorCode: TOPIC_ALREADY_EXISTS, NumPartitions: -1, ReplicationFactor: -1}
//	  ! name-of-the-difference
//	  Topics:
//	  - {Topic: o.t}
//
// A step is a request's name, a version and its fields, by the names of package kmsg, in
// YAML. Fields that are not named have their defaults; an answer leaves out what has.
// Before the name may stand
//
//	b:       the connection to send it on, another one than usual
//	send     do not wait for the answer; a later "receive" takes it
//	await    send it again until the answer is none of those that ask for patience
//	until WORD    send it again until the answer has that word in it, an error code or
//	              anything else; several words stand in quotation marks
//
// Names that begin with "o." are given another beginning on the wire, so that a script
// can be told to a broker again and again. What a broker chooses freely is replaced by
// names that count from 1 (id1, member1, pid1, session1; e1 for the epochs of consumer
// groups), and a later request may say
// $id1; epochs and times near now are <epoch> and <now>, which requests call $epoch and
// $now. Messages for people are left out: every broker has its own words.
//
// The package is for tests, and knows a broker only by its address.
package oracle
