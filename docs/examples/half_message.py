#!/usr/bin/env python3
"""Half messages from any Kafka client: an order service in Python.

The order and the message about it are one: the message is seen if and only if the
order is in the service's own database (SQLite here). It needs confluent-kafka and
nothing of Splashdam's; docs/messages.md explains every step.

    half_message.py --brokers 127.0.0.1:9092 send order-1 order-2
    half_message.py --brokers 127.0.0.1:9092 send --die-before commit order-3
    half_message.py --brokers 127.0.0.1:9092 answer --seconds 20

"send" places orders. "answer" is another instance of the service: it answers the
broker's questions about messages whose sender died, like order-3's, and goes on
until it is interrupted or --seconds have passed. The topic has to be there:

    splashdam topic create orders.paid --config message.type=transaction

Results go to stdout, one line for each decision.
"""

import argparse
import os
import sqlite3
import sys
import time
import uuid

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer


# ---- the local transaction and its fence ----


def open_database(path):
    db = sqlite3.connect(path, timeout=10, isolation_level=None)
    db.execute("CREATE TABLE IF NOT EXISTS orders (id TEXT PRIMARY KEY)")
    # Same table as the Go SDK's Fence makes: both can serve one group.
    db.execute(
        "CREATE TABLE IF NOT EXISTS splashdam_txn (txn_id VARCHAR(255) NOT NULL PRIMARY KEY,"
        " outcome VARCHAR(16) NOT NULL, at_ms BIGINT NOT NULL)"
    )
    return db


def mark(db, txn_id, outcome):
    """Writes down how a transaction ends. The primary key lets only the first do so."""
    db.execute(
        "INSERT INTO splashdam_txn (txn_id, outcome, at_ms) VALUES (?, ?, ?)",
        (txn_id, outcome, int(time.time() * 1000)),
    )


def place_order(db, txn_id, order):
    """The local transaction: the order and the mark, both or neither."""
    db.execute("BEGIN IMMEDIATE")
    try:
        db.execute("INSERT INTO orders (id) VALUES (?)", (order,))
        mark(db, txn_id, "committed")  # fails if a checker was faster
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def check(db, txn_id):
    """How did the local transaction end? If it has not, it never will: the mark keeps
    it from committing. Returns commit, rollback, or None for "ask again later"."""
    try:
        mark(db, txn_id, "rolled back")
        return "rollback"
    except sqlite3.IntegrityError:
        row = db.execute("SELECT outcome FROM splashdam_txn WHERE txn_id = ?", (txn_id,)).fetchone()
        return {"committed": "commit", "rolled back": "rollback"}.get(row[0]) if row else None
    except sqlite3.OperationalError:  # locked: the transaction may be running
        return None


# ---- the Kafka side ----


def new_producer(brokers):
    # acks=all is part of it: who decides must know that the message is held.
    return Producer({
        "bootstrap.servers": brokers,
        "enable.idempotence": True,
        "delivery.timeout.ms": 10000,
        "linger.ms": 0,
    })


def produce(producer, topic, txn_id, state, group, partition=None, key=None, value=None, headers=()):
    """Stores one record and returns its (partition, offset). Raises if it is refused."""
    result = {}

    def delivered(err, msg):
        result["err"], result["msg"] = err, msg

    where = {} if partition is None else {"partition": partition}
    producer.produce(
        topic, key=key, value=value, on_delivery=delivered,
        headers=list(headers) + [
            ("sd-txn-id", txn_id.encode()),
            ("sd-txn-state", state.encode()),
            ("sd-txn-group", group.encode()),
        ], **where,
    )
    # One record in a request: a refused one fails its whole batch, and a commit
    # that shares its batch does not get its offset.
    while "msg" not in result:
        producer.poll(0.1)
    if result["err"] is not None:
        raise KafkaException(result["err"])
    return result["msg"].partition(), result["msg"].offset()


def say(state, txn_id, order, partition, offset=None):
    at = f" partition={partition}" + ("" if offset is None else f" offset={offset}")
    print(f"{state} {order} {txn_id}{at}", flush=True)


def send(args):
    db, producer = open_database(args.database), new_producer(args.brokers)
    for order in args.order:
        txn_id = str(uuid.uuid4())
        # 1. The message is stored, and nobody can see it. The partition matters: the
        #    decision goes to the same one.
        partition, _ = produce(
            producer, args.topic, txn_id, "prepare", args.group,
            key=order.encode(), value=f'{{"order": "{order}"}}'.encode(),
        )
        say("prepare", txn_id, order, partition)
        if args.die_before == "local":
            os._exit(3)
        # 2. The local transaction. If it fails, check says how it really ended and
        #    keeps it from ending otherwise.
        try:
            place_order(db, txn_id, order)
            decision = "commit"
        except sqlite3.Error as e:
            print(f"order {order}: {e}", file=sys.stderr)
            decision = check(db, txn_id)
        if args.die_before == "commit":
            os._exit(3)
        if decision is None:
            continue  # the broker will ask
        # 3. The decision. Once a commit is acknowledged, consumers see the message.
        _, offset = produce(producer, args.topic, txn_id, decision, args.group, partition=partition)
        say(decision, txn_id, order, partition, offset if decision == "commit" else None)


def answer(args):
    db, producer = open_database(args.database), new_producer(args.brokers)
    questions = Consumer({
        "bootstrap.servers": args.brokers,
        "group.id": args.group + ".check",
        "session.timeout.ms": 6000,  # a dead instance holds up its questions this long
        "heartbeat.interval.ms": 1500,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        # The topic appears with the group's first half message.
        "topic.metadata.refresh.interval.ms": 2000,
        "allow.auto.create.topics": False,
    })
    questions.subscribe([args.group + ".check"])
    end = time.monotonic() + args.seconds if args.seconds else None
    try:
        while end is None or time.monotonic() < end:
            msg = questions.poll(0.5)
            if msg is None:
                continue
            if msg.error():
                if msg.error().code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                    print(msg.error(), file=sys.stderr)
                continue
            about = {k: v.decode() for k, v in msg.headers() or [] if k.startswith("sd-")}
            txn_id, partition = about["sd-txn-id"], int(about["sd-txn-partition"])
            decision = check(db, txn_id)
            if decision is not None:
                try:
                    _, offset = produce(
                        producer, about["sd-txn-topic"], txn_id, decision, about["sd-txn-group"], partition=partition
                    )
                    say(decision, txn_id, (msg.key() or b"").decode(), partition, offset if decision == "commit" else None)
                except KafkaException as e:
                    # Decided already, or the broker is away: it asks again if it has to.
                    print(f"{txn_id}: {e}", file=sys.stderr)
            # Only now is the question done.
            questions.commit(message=msg, asynchronous=False)
    except KeyboardInterrupt:
        pass
    finally:
        questions.close()


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--brokers", default="127.0.0.1:9092", help="host:port, several with commas")
    p.add_argument("--topic", default="orders.paid", help="a topic with message.type=transaction")
    p.add_argument("--group", default="order-service", help="the instances that can answer for one another")
    p.add_argument("--database", default="orders.db", help="the SQLite file that they share")
    commands = p.add_subparsers(dest="command", required=True)
    s = commands.add_parser("send", help="place orders")
    s.add_argument("order", nargs="+")
    s.add_argument("--die-before", choices=["local", "commit"], help="exit (3) at this point, as if killed")
    s.set_defaults(run=send)
    a = commands.add_parser("answer", help="answer questions about messages whose sender died")
    a.add_argument("--seconds", type=float, help="stop after this time")
    a.set_defaults(run=answer)
    args = p.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
