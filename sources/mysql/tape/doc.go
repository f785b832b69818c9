// Package tape stands in for a MariaDB server where there is none. It plays what a
// real one was recorded to have: its binlog, byte for byte, and after each
// transaction the rows of its table and what information_schema said of it.
//
//	recording ──▶ Server ──▶ the MySQL protocol: SELECTs, and the binlog
//	              Advance: the next transaction is there now
//
// The server has the transactions that Advance has reached: a SELECT sees their
// rows, the binlog ends with their events, a consistent snapshot stays where it was
// begun. Any number of connections may read at once, and begin in the binlog behind
// any transaction. Rows are searched and sorted by SQLite, so that it does not matter
// how a SELECT cuts the table into parts. A statement that the recording cannot
// answer is an error that names it; nothing is made up.
//
// The recording is of the table and the changes that Script has. To record anew, on
// the MariaDB that is installed:
//
//	go test ./sources/mysql/tape -run TheTapeIs -rewrite
package tape
