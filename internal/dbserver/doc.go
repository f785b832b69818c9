// Package dbserver runs a MySQL or MariaDB server of one's own, from the programs
// that the machine has installed, for the demo and for tests that kill it.
//
// The server listens on 127.0.0.1 only, keeps everything in one directory, and does
// not outlive this process (see package child). It logs changes as Splashdam's MySQL
// source needs them: row format with full metadata, GTIDs on, each commit on the disk
// before it is answered, so that what a client saw committed is there after a kill.
//
//	program, err := dbserver.Find()
//	server, err := dbserver.Start(ctx, dbserver.Options{Program: program, Dir: dir})
//	defer server.Stop()
//	db, err := sql.Open("mysql", server.DSN())
package dbserver
