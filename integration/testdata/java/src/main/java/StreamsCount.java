import java.time.Duration;
import java.util.*;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.*;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.serialization.*;
import org.apache.kafka.streams.*;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler;
import org.apache.kafka.streams.kstream.*;

/**
 * A Kafka Streams application with processing.guarantee=exactly_once_v2, what feeds it, and what checks it.
 * The application counts records by key (a changelog), by another key (a repartition topic), by window with one
 * result for each (suppress), and joins each record with a table. Every result is written at once, without a cache, so
 * "exactly once" is: each key's counts are 1, 2, 3 and so on, each window comes once, each record is joined once.
 *
 * <pre>
 *   StreamsCount create BROKERS             makes the topics and the table
 *   StreamsCount feed BROKERS N RATE        sends N records, RATE a second, then what closes all windows
 *   StreamsCount run BROKERS DIR            runs the application until it is killed
 *   StreamsCount check BROKERS N SECONDS    waits so long for all results, then prints "ok N" or what is wrong
 * </pre>
 */
public class StreamsCount {
  static final int PARTITIONS = 3, KEYS = 50, GROUPS = 7;
  static final Duration WINDOW = Duration.ofSeconds(1);
  static final String END = "end"; // the key, but for its number, of what closes the windows

  public static void main(String[] args) throws Exception {
    switch (args[0]) {
      case "create" -> create(args[1]);
      case "feed" -> feed(args[1], Integer.parseInt(args[2]), Integer.parseInt(args[3]));
      case "run" -> run(args[1], args[2]);
      case "check" -> check(args[1], Integer.parseInt(args[2]), Integer.parseInt(args[3]));
      default -> throw new IllegalArgumentException(args[0]);
    }
  }

  static Map<String, Object> client(String brokers) {
    return new HashMap<>(Map.of("bootstrap.servers", brokers, "reconnect.backoff.max.ms", 200));
  }

  static void create(String brokers) throws Exception {
    try (Admin admin = Admin.create(client(brokers));
        Producer<String, String> p = new KafkaProducer<>(client(brokers), new StringSerializer(), new StringSerializer())) {
      List<NewTopic> topics = new ArrayList<>();
      for (String t : List.of("in", "names", "counts", "groups", "windows", "joined")) topics.add(new NewTopic(t, PARTITIONS, (short) 1));
      try {
        admin.createTopics(topics).all().get();
      } catch (java.util.concurrent.ExecutionException e) {
        if (!(e.getCause() instanceof TopicExistsException)) throw e;
      }
      for (int k = 0; k < KEYS; k++) p.send(new ProducerRecord<>("names", "k" + k, "n" + k)).get();
    }
  }

  static void feed(String brokers, int n, int rate) throws Exception {
    Map<String, Object> config = client(brokers);
    config.put("linger.ms", 5);
    List<java.util.concurrent.Future<RecordMetadata>> sent = new ArrayList<>();
    long start = System.currentTimeMillis();
    try (Producer<String, String> p = new KafkaProducer<>(config, new StringSerializer(), new StringSerializer())) {
      for (int i = 0; i < n; i++) {
        long due = start + 1000L * i / rate;
        while (System.currentTimeMillis() < due) Thread.sleep(1);
        sent.add(p.send(new ProducerRecord<>("in", null, due, "k" + i % KEYS, "" + i)));
      }
      p.flush();
      for (int i = 0; i < PARTITIONS; i++) sent.add(p.send(new ProducerRecord<>("in", i, start + 1_800_000L, END + i, "-1")));
      p.flush();
    }
    for (var f : sent) f.get();
  }

  static Topology topology() {
    StreamsBuilder b = new StreamsBuilder();
    Serde<String> text = Serdes.String();
    Produced<String, String> produced = Produced.with(text, text);
    KStream<String, String> in = b.stream("in", Consumed.with(text, text));
    KStream<String, String> real = in.filter((k, v) -> !k.startsWith(END));
    real.groupByKey(Grouped.with(text, text)).count(Materialized.as("count")).toStream().mapValues(v -> "" + v).to("counts", produced);
    real.selectKey((k, v) -> "g" + Integer.parseInt(v) % GROUPS).groupByKey(Grouped.with("group", text, text))
        .count(Materialized.as("group-count")).toStream().mapValues(v -> "" + v).to("groups", produced);
    in.groupByKey(Grouped.with(text, text)).windowedBy(TimeWindows.ofSizeWithNoGrace(WINDOW)).count(Materialized.as("window-count"))
        .suppress(Suppressed.untilWindowCloses(Suppressed.BufferConfig.unbounded())).toStream()
        .map((w, v) -> KeyValue.pair(w.key() + "@" + w.window().start(), "" + v)).to("windows", produced);
    real.join(b.table("names", Consumed.with(text, text)), (v, name) -> v + ":" + name, Joined.with(text, text, text)).to("joined", produced);
    return b.build();
  }

  static void run(String brokers, String dir) throws Exception {
    Properties config = new Properties();
    config.putAll(client(brokers));
    config.put("application.id", "streams-count");
    config.put("processing.guarantee", "exactly_once_v2");
    config.put("state.dir", dir);
    config.put("num.stream.threads", 2);
    config.put("commit.interval.ms", 500);
    config.put("statestore.cache.max.bytes", 0);
    config.put("repartition.purge.interval.ms", 500);
    config.put("default.key.serde", Serdes.StringSerde.class.getName());
    config.put("default.value.serde", Serdes.StringSerde.class.getName());
    config.put("auto.offset.reset", "earliest");
    config.put("session.timeout.ms", 3000);
    config.put("heartbeat.interval.ms", 500);
    config.put("producer.transaction.timeout.ms", 5000);
    KafkaStreams streams = new KafkaStreams(topology(), config);
    streams.setUncaughtExceptionHandler(e -> {
      System.out.println("exception " + e);
      e.printStackTrace();
      return StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse.REPLACE_THREAD;
    });
    streams.setStateListener((now, before) -> System.out.println("state " + now));
    streams.start();
    Thread.currentThread().join();
  }

  static void check(String brokers, int n, int seconds) throws Exception {
    Map<String, Object> config = client(brokers);
    config.put("isolation.level", "read_committed");
    config.put("auto.offset.reset", "earliest");
    Map<String, Long> counts = new TreeMap<>(), groups = new TreeMap<>(), windows = new TreeMap<>();
    BitSet in = new BitSet(), joined = new BitSet();
    List<String> wrong = new ArrayList<>();
    try (Consumer<String, String> c = new KafkaConsumer<>(config, new StringDeserializer(), new StringDeserializer())) {
      List<TopicPartition> all = new ArrayList<>();
      for (String t : List.of("in", "counts", "groups", "windows", "joined")) for (int p = 0; p < PARTITIONS; p++) all.add(new TopicPartition(t, p));
      c.assign(all);
      c.seekToBeginning(all);
      long deadline = System.currentTimeMillis() + 1000L * seconds, quiet = 0;
      while (quiet < 10 && wrong.isEmpty() && System.currentTimeMillis() < deadline) {
        boolean came = false;
        for (var r : c.poll(Duration.ofMillis(200))) {
          came = true;
          String at = r.topic() + "-" + r.partition() + "@" + r.offset() + " " + r.key() + "=" + r.value();
          switch (r.topic()) {
            case "in" -> { if (!r.key().startsWith(END)) once(in, r.value(), at, wrong); }
            case "joined" -> {
              String[] parts = r.value().split(":");
              if (!parts[1].equals(r.key().replace('k', 'n'))) wrong.add("joined with another: " + at);
              once(joined, parts[0], at, wrong);
            }
            case "windows" -> { if (windows.putIfAbsent(r.key(), Long.parseLong(r.value())) != null) wrong.add("a window again: " + at); }
            default -> {
              var of = r.topic().equals("counts") ? counts : groups;
              long next = of.getOrDefault(r.key(), 0L) + 1;
              if (Long.parseLong(r.value()) != next) wrong.add("instead of " + next + ": " + at);
              of.put(r.key(), next);
            }
          }
        }
        boolean complete = in.cardinality() == n && joined.cardinality() == n && sum(counts) == n && sum(groups) == n && sum(windows) == n;
        quiet = complete && !came ? quiet + 1 : 0;
      }
    }
    String found = "in " + in.cardinality() + ", joined " + joined.cardinality() + ", counts " + sum(counts) + ", groups " + sum(groups) + ", windows " + sum(windows);
    if (!wrong.isEmpty() || in.cardinality() != n || joined.cardinality() != n || sum(counts) != n || sum(groups) != n || sum(windows) != n) {
      System.out.println("of " + n + ": " + found + "\n" + String.join("\n", wrong));
      System.exit(1);
    }
    System.out.println("ok " + n);
  }

  static void once(BitSet seen, String number, String at, List<String> wrong) {
    int i = Integer.parseInt(number);
    if (seen.get(i)) wrong.add("again: " + at);
    seen.set(i);
  }

  static long sum(Map<String, Long> counts) {
    return counts.values().stream().mapToLong(Long::longValue).sum();
  }
}
