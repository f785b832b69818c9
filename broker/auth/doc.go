// Package auth finds out who is at the other end of a connection.
//
//	SASL tokens ──▶ Exchange (plain.go, scram.go, oauth.go) ──▶ Identity
//	                    │                │
//	                Credential        TokenVerifier ◀── KeySet ◀── JWKS (run.go)
//
//	certificate ──▶ PrincipalRules ──▶ principal
//	PEM files   ──▶ Certificates   ──▶ *tls.Config, anew when the files change
//
// An Exchange is a plain machine: a token goes in, an answer comes out, and the
// time is an argument. What it is told of a refusal is for the operator; the client
// learns that it was refused and nothing else. Invariants, by name:
//
//   - fail closed: what cannot be checked is refused, a key set that was never
//     loaded included.
//   - equal cost: a user who does not exist goes through the same steps, with the
//     same work, as one whose password is wrong.
//   - nothing kept: passwords are compared and forgotten; no error names a secret.
//
// Only KeySet has a goroutine, and it ends with the context of its Run.
package auth
