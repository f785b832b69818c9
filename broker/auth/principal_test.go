package auth

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"testing"
)

func subject(t testing.TB, name pkix.Name) []byte {
	t.Helper()
	der, err := asn1.Marshal(name.ToRDNSequence())
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// The rules and their outcomes are those of Kafka's own documentation and tests.
func TestPrincipalRulesMeanWhatTheyMeanInKafka(t *testing.T) {
	duke := subject(t, pkix.Name{CommonName: "Duke", OrganizationalUnit: []string{"ServiceUsers"}, Organization: []string{"Unknown"}, Locality: []string{"Unknown"}, Province: []string{"Unknown"}, Country: []string{"US"}})
	for rules, want := range map[string]string{
		"":                                      "User:CN=Duke,OU=ServiceUsers,O=Unknown,L=Unknown,ST=Unknown,C=US",
		"DEFAULT":                               "User:CN=Duke,OU=ServiceUsers,O=Unknown,L=Unknown,ST=Unknown,C=US",
		`RULE:^CN=(.*?),OU=ServiceUsers.*$/$1/`: "User:Duke",
		`RULE:^CN=(.*?),OU=ServiceUsers.*$/$1@$2/`:                                   "User:Duke@$2",
		`RULE:^CN=(.*?), *OU=(.*?), *O=(.*?),.*C=(.*?)$/$1@$2@$3\/$4/`:               "User:Duke@ServiceUsers@Unknown/US",
		`RULE:^.*[Cc][Nn]=([a-zA-Z0-9.]*).*$/$1/L`:                                   "User:duke",
		`RULE:^.*[Cc][Nn]=([a-zA-Z0-9.]*).*$/$1/U`:                                   "User:DUKE",
		`RULE:^CN=other,.*$/other/, RULE:^CN=(.*?),.*$/$1/ ,DEFAULT`:                 "User:Duke",
		`RULE:^CN=other$/other/,DEFAULT`:                                             "User:CN=Duke,OU=ServiceUsers,O=Unknown,L=Unknown,ST=Unknown,C=US",
		`RULE:CN=Duke/half/`:                                                         "",
		`RULE:^CN=a{1,2},.*$/x/,RULE:^CN=Du{1,2}ke,.*$/with a comma in the pattern/`: "User:with a comma in the pattern",
	} {
		parsed, err := ParsePrincipalRules(rules)
		if err != nil {
			t.Errorf("%s: %v", rules, err)
			continue
		}
		got, err := parsed.Principal(duke)
		if got != want || (err != nil) != (want == "") || err != nil && !errors.Is(err, ErrRefused) {
			t.Errorf("%s: %q, %v, want %q", rules, got, err, want)
		}
	}
}

func TestPrincipalRulesThatMakeNoSenseAreRefused(t *testing.T) {
	for _, rules := range []string{"default", "DEFAULT,", "DEFAULT DEFAULT", "RULE:a", "RULE:a/b", `RULE:a\/b/`, "RULE:(/x/", "RULE:a/b/X", "RULE:(?=a)/b/", ",DEFAULT"} {
		if _, err := ParsePrincipalRules(rules); err == nil {
			t.Errorf("%q is accepted", rules)
		}
	}
}

func TestNamesAreWrittenAsRFC2253HasThem(t *testing.T) {
	email := pkix.AttributeTypeAndValue{Type: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 1}, Value: "a"}
	for want, name := range map[string]pkix.Name{
		`CN=a\,b,O=\#x \"y\"\ `:             {CommonName: "a,b", Organization: []string{`#x "y" `}},
		`1.2.840.113549.1.9.1=#130161,CN=a`: {CommonName: "a", ExtraNames: []pkix.AttributeTypeAndValue{email}},
	} {
		got, err := distinguishedName(subject(t, name))
		if err != nil || got != want {
			t.Errorf("%q, %v, want %q", got, err, want)
		}
	}
	if _, err := distinguishedName([]byte{0x30, 3}); !errors.Is(err, ErrRefused) {
		t.Errorf("a malformed subject: %v", err)
	}
}
