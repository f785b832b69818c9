package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	gomysql "github.com/go-mysql-org/go-mysql/mysql"
	driver "github.com/go-sql-driver/mysql"

	"github.com/splashdam/splashdam/connect"
)

// transactions are those that were read up to a position.
func (s *serverInfo) transactions(p logPosition) (gomysql.GTIDSet, error) {
	parse, kind := gomysql.ParseMysqlGTIDSet, "MySQL"
	if s.mariadb {
		parse, kind = gomysql.ParseMariadbGTIDSet, "MariaDB"
	}
	set, err := parse(p.GTIDs)
	if err != nil {
		return nil, connect.Permanent(fmt.Errorf("the position's transactions %.100q are not of a %s: %w", p.GTIDs, kind, err),
			"connect to the server that was read before; or "+copyAnew)
	}
	return set, nil
}

// checkHistory is whether a server that is not the one that the position is of has
// all that was read from that one.
func (s *serverInfo) checkHistory(ctx context.Context, conn *sql.Conn, p logPosition) error {
	read, err := s.transactions(p)
	if err != nil {
		return err
	}
	has, err := s.watermark(ctx, conn)
	if err != nil || has.gtids.Contain(read) {
		return err
	}
	return connect.Permanent(
		fmt.Errorf("this server (%s) does not have all transactions that were read from %s: they are %.200q, and it has %.200q",
			s.identity, p.Identity, p.GTIDs, has.gtids),
		"connect to a server that has them, as a replica has when it has caught up; or "+copyAnew)
}

// checkLog is whether the server's binlog is still the one that the position is in.
// After a RESET the same numbers of transactions come again, so that following the
// numbers would leave out what has them.
func (s *serverInfo) checkLog(ctx context.Context, conn *sql.Conn, p logPosition) error {
	if p.File == "" {
		return nil
	}
	logs, err := binlogs(ctx, conn)
	if err != nil {
		return err
	}
	reset := func(why string, args ...any) error {
		return connect.Permanent(fmt.Errorf("the binlog was reset since it was read up to %s:%d: %s", p.File, p.Pos, fmt.Sprintf(why, args...)), copyAnew)
	}
	at := slices.IndexFunc(logs, func(l binlog) bool { return l.name == p.File })
	if at < 0 {
		number, err := fileNumber(p.File)
		if err != nil {
			return err
		}
		if first, err := fileNumber(logs[0].name); err != nil || number < first {
			return err // Purged. The server knows whether that leaves a gap.
		}
		return reset("the last file is %s", logs[len(logs)-1].name)
	}
	switch size := logs[at].size; {
	case size < p.Pos:
		return reset("the file has %d bytes", size)
	case size == p.Pos:
		return nil
	}
	next, err := gtidBehind(ctx, conn, p.File, p.Pos)
	if _, refused := errors.AsType[*driver.MySQLError](err); refused {
		return reset("no event begins there (%v)", err)
	}
	if err != nil || next == "" {
		return err
	}
	read, err := s.transactions(p)
	if err != nil {
		return err
	}
	again, err := gomysql.ParseMysqlGTIDSet(next)
	if err != nil {
		return fmt.Errorf("reading the transaction %q: %w", next, err)
	}
	if read.Contain(again) {
		return reset("the transaction there is %s, and was read before it", next)
	}
	return nil
}

type binlog struct {
	name string
	size uint64
}

// binlogs are the files that the server has, in their order.
func binlogs(ctx context.Context, conn *sql.Conn) (all []binlog, err error) {
	err = eachRow(ctx, conn, func(rows *sql.Rows) error {
		var l binlog
		columns, err := rows.Columns()
		if err != nil {
			return err
		}
		into := []any{&l.name, &l.size}
		for len(into) < len(columns) { // MySQL says of each whether it is encrypted
			into = append(into, new(sql.RawBytes))
		}
		err = rows.Scan(into...)
		all = append(all, l)
		return err
	}, "SHOW BINARY LOGS")
	if err == nil && len(all) == 0 {
		err = errors.New("there is none")
	}
	if err != nil {
		return nil, explain(fmt.Errorf("asking for the binlogs: %w", err))
	}
	return all, nil
}

// gtidBehind is the GTID of the transaction that begins at a place in MySQL's binlog;
// empty if that is something else.
func gtidBehind(ctx context.Context, conn *sql.Conn, file string, pos uint64) (gtid string, err error) {
	err = eachRow(ctx, conn, func(rows *sql.Rows) error {
		var name, kind, info string
		var from, server, end uint64
		err := rows.Scan(&name, &from, &kind, &server, &end, &info)
		if _, set, ok := strings.Cut(info, "GTID_NEXT= '"); ok {
			gtid = strings.TrimSuffix(set, "'")
		}
		return err
	}, fmt.Sprintf("SHOW BINLOG EVENTS IN '%s' FROM %d LIMIT 1", file, pos))
	if err != nil {
		return "", fmt.Errorf("asking what is at %s:%d: %w", file, pos, err)
	}
	return gtid, nil
}
