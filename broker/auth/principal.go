package auth

import (
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// PrincipalRules turn the subject of a certificate into a principal, by Kafka's
// ssl.principal.mapping.rules:
//
//	DEFAULT                            the whole name
//	RULE:pattern/replacement/          the replacement, if the pattern matches the whole name
//	RULE:pattern/replacement/L or /U   the same, in lower or upper case
//
// The first rule that matches counts. $1 in a replacement is the first group, \/ is
// a slash. Patterns are Go's (RE2), which knows no look-around.
type PrincipalRules []principalRule

type principalRule struct {
	pattern     *regexp.Regexp // nil for DEFAULT
	replacement string
	fold        byte // L, U or 0
}

// ParsePrincipalRules reads rules with commas between. An empty text is DEFAULT.
func ParsePrincipalRules(text string) (PrincipalRules, error) {
	rest := strings.TrimSpace(text)
	if rest == "" {
		rest = "DEFAULT"
	}
	var rules PrincipalRules
	for {
		rule, after, err := parsePrincipalRule(rest)
		if err != nil {
			return nil, fmt.Errorf("rule %d of %q: %w", len(rules)+1, text, err)
		}
		rules = append(rules, rule)
		after = strings.TrimSpace(after)
		if after == "" {
			return rules, nil
		}
		rest, err = strings.TrimSpace(strings.TrimPrefix(after, ",")), nil
		if !strings.HasPrefix(after, ",") || rest == "" {
			return nil, fmt.Errorf("rule %d of %q: %q follows it", len(rules), text, after)
		}
	}
}

func parsePrincipalRule(s string) (r principalRule, rest string, err error) {
	if rest, ok := strings.CutPrefix(s, "DEFAULT"); ok {
		return r, rest, nil
	}
	rest, ok := strings.CutPrefix(s, "RULE:")
	if !ok {
		return r, "", errors.New("it is neither DEFAULT nor RULE:pattern/replacement/")
	}
	pattern, rest, ok := cutSlash(rest)
	if !ok {
		return r, "", errors.New("there is no / behind the pattern")
	}
	if r.replacement, rest, ok = cutSlash(rest); !ok {
		return r, "", errors.New("there is no / behind the replacement")
	}
	r.replacement = strings.ReplaceAll(r.replacement, `\/`, "/")
	if r.pattern, err = regexp.Compile(`\A(?:` + pattern + `)\z`); err != nil {
		return r, "", err
	}
	if rest != "" && (rest[0] == 'L' || rest[0] == 'U') {
		r.fold, rest = rest[0], rest[1:]
	}
	return r, rest, nil
}

// cutSlash cuts at the first slash that no backslash precedes.
func cutSlash(s string) (before, after string, ok bool) {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '/':
			return s[:i], s[i+1:], true
		}
	}
	return "", "", false
}

// Principal is the principal of a subject, in DER. No rule that matches is an error.
func (rules PrincipalRules) Principal(subject []byte) (string, error) {
	name, err := distinguishedName(subject)
	if err != nil {
		return "", err
	}
	for _, r := range rules {
		if mapped, ok := r.apply(name); ok {
			return UserPrincipal(mapped), nil
		}
	}
	return "", fmt.Errorf("%w: no rule of ssl.principal.mapping.rules fits the certificate of %q", ErrRefused, name)
}

func (r principalRule) apply(name string) (string, bool) {
	if r.pattern == nil {
		return name, true
	}
	groups := r.pattern.FindStringSubmatch(name)
	if groups == nil {
		return "", false
	}
	var b strings.Builder
	for i := 0; i < len(r.replacement); i++ {
		if c := r.replacement[i]; c == '$' && i+1 < len(r.replacement) {
			if n, err := strconv.Atoi(r.replacement[i+1 : i+2]); err == nil && n < len(groups) {
				b.WriteString(groups[n])
				i++
				continue
			}
		}
		b.WriteByte(r.replacement[i])
	}
	switch r.fold {
	case 'L':
		return strings.ToLower(b.String()), true
	case 'U':
		return strings.ToUpper(b.String()), true
	}
	return b.String(), true
}

// attributeNames are the names that RFC 2253 gives to attributes.
var attributeNames = map[string]string{
	"2.5.4.3": "CN", "2.5.4.6": "C", "2.5.4.7": "L", "2.5.4.8": "ST", "2.5.4.9": "STREET", "2.5.4.10": "O", "2.5.4.11": "OU",
	"0.9.2342.19200300.100.1.25": "DC", "0.9.2342.19200300.100.1.1": "UID",
}

// relativeNameSET is one part of a name; encoding/asn1 knows a set by the suffix.
type relativeNameSET []struct {
	Type  asn1.ObjectIdentifier
	Value asn1.RawValue
}

// distinguishedName writes a name as RFC 2253 has it, and Java with it: the last
// part first, "CN=alice,OU=orders,O=Example".
func distinguishedName(der []byte) (string, error) {
	var rdns []relativeNameSET
	if rest, err := asn1.Unmarshal(der, &rdns); err != nil || len(rest) > 0 {
		return "", fmt.Errorf("%w: a certificate has a malformed subject", ErrRefused)
	}
	var b strings.Builder
	for i := len(rdns) - 1; i >= 0; i-- {
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		for j, a := range rdns[i] {
			if j > 0 {
				b.WriteByte('+')
			}
			var value any
			if name, ok := attributeNames[a.Type.String()]; ok {
				if _, err := asn1.Unmarshal(a.Value.FullBytes, &value); err != nil {
					return "", fmt.Errorf("%w: a certificate has a malformed subject", ErrRefused)
				}
				if text, ok := value.(string); ok {
					b.WriteString(name + "=" + escapeAttribute(text))
					continue
				}
			}
			b.WriteString(a.Type.String() + "=#" + hex.EncodeToString(a.Value.FullBytes))
		}
	}
	return b.String(), nil
}

// escapeAttribute puts a backslash before what has a meaning in a name (RFC 2253,
// section 2.4), so that nobody's name can look like another's.
func escapeAttribute(s string) string {
	var b strings.Builder
	for i, r := range s {
		special := strings.ContainsRune(`,+"\<>;`, r) ||
			r == '#' && i == 0 || r == ' ' && (i == 0 || i == len(s)-1)
		if special {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}
