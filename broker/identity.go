package broker

import (
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/splashdam/splashdam/broker/kafka"
)

// identity is what a broker's DescribeConfigs says of the broker itself, by the names that
// consoles and clients look for: who it is, where it listens, where its data is. None of it
// can be altered. Addresses of other listeners than the asker's are no secret: Kafka tells
// them too, to who may describe the configuration of the cluster.
func (b *Broker) identity() []kafka.ConfigEntry {
	var bound, advertised []string
	for _, l := range b.cfg.Listeners {
		bound = append(bound, l.Name+"://"+l.Net.Addr().String())
		advertised = append(advertised, l.Name+"://"+net.JoinHostPort(l.Host, strconv.Itoa(int(l.Port))))
	}
	id := strconv.Itoa(int(b.cfg.NodeID))
	return []kafka.ConfigEntry{
		fact("advertised.listeners", kmsg.ConfigTypeList, strings.Join(advertised, ","), "Where clients are sent, by listener."),
		fact("broker.id", kmsg.ConfigTypeInt, id, "The id of this broker: its node.id."),
		fact("listeners", kmsg.ConfigTypeList, strings.Join(bound, ","), "Where the broker listens."),
		fact("log.dirs", kmsg.ConfigTypeList, b.cfg.Dir, "Where the broker's data is. There is one directory."),
		fact("node.id", kmsg.ConfigTypeInt, id, "The id of this broker in the cluster."),
	}
}

// fact is a setting that a broker was started with and that is no Setting.
func fact(name string, t kmsg.ConfigType, value, doc string) kafka.ConfigEntry {
	return kafka.ConfigEntry{
		Name: name, Value: &value, Type: t, Source: kmsg.ConfigSourceStaticBrokerConfig, ReadOnly: true, Doc: doc,
		Synonyms: []kafka.ConfigSynonym{{Name: name, Value: value, Source: kmsg.ConfigSourceStaticBrokerConfig}},
	}
}

// brokerConfigs are the settings of this broker, by name.
func (b *Broker) brokerConfigs() []kafka.ConfigEntry {
	all := append(configEntries(b.settings().Entries()), b.identity()...)
	slices.SortFunc(all, func(x, y kafka.ConfigEntry) int { return strings.Compare(x.Name, y.Name) })
	return all
}
