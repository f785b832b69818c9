// Package convert is between rows as columns and rows as bytes:
//
//	Section ── JSON (json.go, envelope.go) ──▶ record key, value
//	Rows  ◀── Plan (plan.go) ─────────────── record key, value, headers
//	  └────── Arrow (arrow.go) ───▶ arrow records
//
// Values are Debezium's, so who reads Debezium's topics reads these: the envelope
// with the row before and after, times and decimals as its default modes have
// them. A Plan reads them back into equal columns, and Debezium's own, if each
// comes with its schema (block.go).
//
// Schema documents (schema.go) are what the topic of schemas holds.
//
// Nothing here has a goroutine, a clock or I/O, and nothing allocates by the row.
package convert
