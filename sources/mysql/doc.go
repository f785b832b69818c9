// Package mysql reads MySQL and MariaDB: rows as they are, by SELECT, and then
// every change of them, from the binlog.
//
//	TABLE_MAP event ──▶ table: schema, and how each column is read
//	row events ───────▶ table.decode ──▶ columns ◀── destinations ◀── SELECT
//
// A value is the same whichever way it came. What a type of the servers becomes
// is decided in one place (sqlType, value.go) and written down for users in
// docs/mysql-types.md.
//
// The schema of a row is the one that it was written with: servers send it before
// the rows if binlog_row_metadata is FULL, and without that this package refuses
// to guess. It asks information_schema only for what the event leaves open.
//
// Whatever a server sends is checked before it is trusted: an event that does not
// hold what it says is an error, and memory grows with what is there, not with
// what is claimed.
package mysql
