package cluster

import (
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/splashdam/splashdam/broker/auth"
)

// ListenerSettings are the settings that may differ from listener to listener. Names
// and meanings are Kafka's; stores are in PEM.
type ListenerSettings struct {
	MaxConnections int // 0 is no bound of its own

	KeystoreLocation   string
	KeystoreKey        string
	KeystoreChain      string
	TruststoreLocation string
	Truststore         string
	ClientAuth         string
	// ClientAuthHere is set where ssl.client.auth was set for this listener: only then
	// it counts for SASL_SSL (KIP-684).
	ClientAuthHere bool
	TLSProtocols   []string
	PrincipalRules auth.PrincipalRules

	Mechanisms  []string
	MaxReauthMs int64

	KeySetURL        string
	KeySetRefreshMs  int64
	TokenIssuer      string
	TokenAudiences   []string
	TokenAlgorithms  []string
	TokenClaim       string
	TokenSkewSeconds int64
}

// listenerSetting is a setting that may stand before all listeners, or for one of
// them behind listener.name.<name>, which wins.
type listenerSetting struct {
	Setting
	bind func(*ListenerSettings, string)
}

// listenerPrefix begins a setting of one listener; its name follows in lower case.
const listenerPrefix = "listener.name."

// maxConnections is a setting of the node which may besides be one of a listener.
const maxConnections = "max.connections"

// listenerSettings declares them, by name.
var listenerSettings = []listenerSetting{
	{
		Setting: long("connections.max.reauth.ms", 0, 0, math.MaxInt64/int64(1e6),
			"How long a login counts, in ms: then the client has to log in again, on the same connection, or is cut. 0 is without end, but for a bearer token's own."),
		bind: func(l *ListenerSettings, v string) { l.MaxReauthMs = toInt64(v) },
	},
	{
		// Kafka's default, GSSAPI, is not offered.
		Setting: some("sasl.enabled.mechanisms", auth.ScramSHA256+","+auth.ScramSHA512, []string{auth.ScramSHA256, auth.ScramSHA512, auth.Plain, auth.OAuthBearer},
			"The mechanisms by which clients may log in. PLAIN checks against the SCRAM credentials and shows the password to whoever reads along, so it belongs on SASL_SSL. OAUTHBEARER needs sasl.oauthbearer.*."),
		bind: func(l *ListenerSettings, v string) { l.Mechanisms = splitList(v) },
	},
	{
		// Ours.
		Setting: some("sasl.oauthbearer.algorithms", "RS256,ES256", auth.TokenAlgorithms,
			"The algorithms by which a bearer token may be signed."),
		bind: func(l *ListenerSettings, v string) { l.TokenAlgorithms = splitList(v) },
	},
	{
		Setting: integer("sasl.oauthbearer.clock.skew.seconds", 30, 0, 3600,
			"By how much the clocks of the tokens' issuer and of the node may differ, in seconds."),
		bind: func(l *ListenerSettings, v string) { l.TokenSkewSeconds = toInt64(v) },
	},
	{
		Setting: textUnset("sasl.oauthbearer.expected.audience",
			"The audiences, separated by commas, of which a bearer token must have one. Required with OAUTHBEARER."),
		bind: func(l *ListenerSettings, v string) { l.TokenAudiences = splitList(v) },
	},
	{
		Setting: textUnset("sasl.oauthbearer.expected.issuer",
			"The issuer that a bearer token must have. Required with OAUTHBEARER."),
		bind: func(l *ListenerSettings, v string) { l.TokenIssuer = v },
	},
	{
		Setting: long("sasl.oauthbearer.jwks.endpoint.refresh.ms", 3600_000, 10_000, math.MaxInt64/int64(1e6),
			"How often the issuer's keys are fetched anew, in ms. A token with an unknown key has them fetched earlier."),
		bind: func(l *ListenerSettings, v string) { l.KeySetRefreshMs = toInt64(v) },
	},
	{
		Setting: textUnset("sasl.oauthbearer.jwks.endpoint.url",
			"Where the issuer's keys (JWKS) are: https://, or file:/// for a file. Required with OAUTHBEARER."),
		bind: func(l *ListenerSettings, v string) { l.KeySetURL = v },
	},
	{
		Setting: text("sasl.oauthbearer.sub.claim.name", "sub",
			"The claim of a bearer token that names the user."),
		bind: func(l *ListenerSettings, v string) { l.TokenClaim = v },
	},
	{
		Setting: choice("ssl.client.auth", "none", []string{"none", "requested", "required"},
			"Whether a client shows a certificate. One that is shown is always checked against the truststore. For SASL_SSL it counts only if it is set for the listener."),
		bind: func(l *ListenerSettings, v string) { l.ClientAuth = v },
	},
	{
		Setting: some("ssl.enabled.protocols", "TLSv1.2,TLSv1.3", auth.TLSProtocols,
			"The versions of TLS that are offered."),
		bind: func(l *ListenerSettings, v string) { l.TLSProtocols = splitList(v) },
	},
	{
		Setting: pem("ssl.keystore.certificate.chain",
			"The node's certificate and those that lead to its authority, in PEM, where there is no ssl.keystore.location."),
		bind: func(l *ListenerSettings, v string) { l.KeystoreChain = v },
	},
	{
		Setting: secret(pem("ssl.keystore.key",
			"The private key of the node's certificate, in PEM (PKCS#8), not encrypted, where there is no ssl.keystore.location.")),
		bind: func(l *ListenerSettings, v string) { l.KeystoreKey = v },
	},
	{
		Setting: textUnset("ssl.keystore.location",
			"A PEM file with the node's private key and its certificate chain. It may be replaced while the node runs: new connections get what is there then."),
		bind: func(l *ListenerSettings, v string) { l.KeystoreLocation = v },
	},
	{
		Setting: choice("ssl.keystore.type", "PEM", []string{"PEM"},
			"The form of the keystore."),
	},
	{
		Setting: Setting{
			Name: "ssl.principal.mapping.rules", Type: kmsg.ConfigTypeString, Default: new("DEFAULT"), Accepts: "a list of DEFAULT and RULE:pattern/replacement/[LU]",
			Doc: "How the subject of a client's certificate becomes a principal, on SSL listeners.",
			parse: func(v string) (string, bool) {
				_, err := auth.ParsePrincipalRules(v)
				return v, err == nil
			},
		},
		bind: func(l *ListenerSettings, v string) {
			rules, err := auth.ParsePrincipalRules(v)
			mustBeCanonical(v, err)
			l.PrincipalRules = rules
		},
	},
	{
		Setting: pem("ssl.truststore.certificates",
			"The authorities of clients' certificates, in PEM, where there is no ssl.truststore.location."),
		bind: func(l *ListenerSettings, v string) { l.Truststore = v },
	},
	{
		Setting: textUnset("ssl.truststore.location",
			"A PEM file with the authorities of clients' certificates. It may be replaced while the node runs."),
		bind: func(l *ListenerSettings, v string) { l.TruststoreLocation = v },
	},
	{
		Setting: choice("ssl.truststore.type", "PEM", []string{"PEM"},
			"The form of the truststore."),
	},
}

// listenerOnly is what max.connections is behind a listener's prefix.
var listenerOnly = listenerSetting{
	Setting: dynamic(integer(maxConnections, 0, 1, math.MaxInt32, "The most connections of one listener at once.")),
	bind:    func(l *ListenerSettings, v string) { l.MaxConnections = toInt(v) },
}

func listenerSettingNamed(name string) (*listenerSetting, bool) {
	for i := range listenerSettings {
		if listenerSettings[i].Name == name {
			return &listenerSettings[i], true
		}
	}
	return nil, false
}

// ofListener takes a setting of one listener apart.
func ofListener(name string) (listener string, d *listenerSetting, ok bool) {
	rest, ok := strings.CutPrefix(name, listenerPrefix)
	if !ok {
		return "", nil, false
	}
	listener, key, _ := strings.Cut(rest, ".")
	if key == maxConnections {
		return listener, &listenerOnly, listener != ""
	}
	d, ok = listenerSettingNamed(key)
	return listener, d, ok && listener != ""
}

// Listener is what holds for a listener: its own settings, else those of all, else
// the defaults. The name is compared without regard to case, as in Kafka.
func (s *BrokerSettings) Listener(name string) ListenerSettings {
	var l ListenerSettings
	prefix := listenerPrefix + strings.ToLower(name) + "."
	for i := range listenerSettings {
		d := &listenerSettings[i]
		v, own := s.set[prefix+d.Name]
		if !own {
			common := s.settingValue(&d.Setting)
			if common == nil {
				continue
			}
			v = *common
		}
		if d.bind != nil {
			d.bind(&l, v)
		}
		if d.Name == "ssl.client.auth" {
			l.ClientAuthHere = own
		}
	}
	if v, _, own := s.given(prefix + maxConnections); own {
		listenerOnly.bind(&l, v)
	}
	return l
}

// ListenersNamed lists the listeners, in lower case, that settings are for.
func (s *BrokerSettings) ListenersNamed() []string {
	names := make(map[string]bool)
	for key := range s.set {
		if name, _, ok := ofListener(key); ok {
			names[name] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}
