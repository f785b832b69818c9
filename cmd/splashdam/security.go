package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/splashdam/splashdam/broker"
	"github.com/splashdam/splashdam/broker/auth"
	"github.com/splashdam/splashdam/broker/kafka"
	"github.com/splashdam/splashdam/connect/runtime"
)

// protocols are Kafka's security protocols.
var protocols = []string{kafka.Plaintext, kafka.SSL, kafka.SASLPlaintext, kafka.SASLSSL}

// exposure says what a stranger could do who reaches a listener; empty where clients
// prove who they are and nobody can read along.
func (c *ServeConfig) exposure(l Listener) string {
	const all = "would serve everyone who can reach it"
	switch l.Protocol {
	case kafka.SASLSSL:
		return ""
	case kafka.SASLPlaintext:
		return "would show messages, and who logs in, to everyone who can read along: nothing is encrypted"
	case kafka.SSL:
		if c.listenerSetting(l.Name, "ssl.client.auth") == "required" {
			return ""
		}
		return all + ": it is encrypted, but nobody has to log in"
	}
	return all + ": nothing is encrypted and nobody has to log in"
}

// listenerSetting is a setting as it holds for a listener.
func (c *ServeConfig) listenerSetting(listener, name string) string {
	if v, ok := c.Settings["listener.name."+strings.ToLower(listener)+"."+name]; ok {
		return v
	}
	return c.Settings[name]
}

// checkExposure refuses to serve strangers beyond this machine.
func (c *ServeConfig) checkExposure() error {
	for _, l := range c.Listeners {
		why := c.exposure(l)
		if l.loopback() || why == "" {
			continue
		}
		safe := l
		safe.Name = kafka.SASLSSL
		return &problem{
			what: fmt.Sprintf("listener %s %s", l, why),
			next: []string{
				fmt.Sprintf("only this machine:           --listeners %s://127.0.0.1:%d", l.Name, l.Port),
				fmt.Sprintf("encrypted, with a login:     --listeners %s --set ssl.keystore.location=FILE.pem", safe),
				fmt.Sprintf("encrypted, by certificates:  --listeners SSL://%s --set ssl.client.auth=required --set ssl.keystore.location=FILE.pem --set ssl.truststore.location=CA.pem", l.HostPort),
				fmt.Sprintf("a network that you trust:    --set %s=true", allowInsecure),
			},
			kind: errUsage,
		}
	}
	return nil
}

// checkPipelinesReach makes sure that the pipelines in the node have a way to it:
// they have no login of their own.
func (c *ServeConfig) checkPipelinesReach(pipelines []runtime.Pipeline) error {
	near := func(l Listener) bool { return l.Protocol == kafka.Plaintext && (l.loopback() || l.wildcard()) }
	if len(pipelines) == 0 || slices.ContainsFunc(c.Listeners, near) {
		return nil
	}
	return &problem{
		what: "the pipelines of " + c.Connect + " cannot reach the node: none of its listeners is PLAINTEXT on this machine",
		next: []string{
			fmt.Sprintf("give them one:     --listeners PLAINTEXT://127.0.0.1:9092,%s", c.Listeners[0]),
			"or run them apart:  splashdam connect run --command-config FILE PIPELINE.yaml",
		},
		kind: errUsage,
	}
}

// setUsers reads name:password[:mechanism]. Errors show nothing of what was given.
func setUsers(c *ServeConfig, given []value) error {
	for i, v := range given {
		u, err := parseUser(v.text)
		if err == nil && slices.ContainsFunc(c.Users, func(o broker.NewUser) bool { return o.Name == u.Name && o.Mechanism == u.Mechanism }) {
			err = errors.New("he is there twice")
		}
		if err != nil {
			return &problem{what: fmt.Sprintf("user %d of --user", i+1), cause: err, kind: errUsage}
		}
		c.Users = append(c.Users, u)
	}
	return nil
}

func parseUser(s string) (broker.NewUser, error) {
	name, password, ok := strings.Cut(s, ":")
	u := broker.NewUser{Name: name, Password: password}
	if at := strings.LastIndexByte(password, ':'); at >= 0 && auth.IsScram(password[at+1:]) {
		u.Password, u.Mechanism = password[:at], password[at+1:]
	}
	switch {
	case !ok || u.Password == "":
		return broker.NewUser{}, errors.New("it is not of the form NAME:PASSWORD or NAME:PASSWORD:MECHANISM")
	case strings.HasSuffix(u.Password, ":"+auth.Plain):
		return broker.NewUser{}, fmt.Errorf("%s has no credentials of its own, it checks against those of SCRAM: leave the mechanism out", auth.Plain)
	}
	return u, auth.CheckUser(u.Name)
}
