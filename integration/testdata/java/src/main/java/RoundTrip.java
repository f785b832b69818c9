import java.time.Duration;
import java.util.*;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.*;

/**
 * Creates a topic, produces n messages with the default (idempotent) producer, reads them back with two members of
 * a group, commits, lists offsets, deletes the topic. Prints "ok n" or fails. A file of properties, as a third argument,
 * says how to log in.
 */
public class RoundTrip {
  static final String TOPIC = "java";

  public static void main(String[] args) throws Exception {
    String brokers = args[0];
    int n = Integer.parseInt(args[1]);
    Map<String, Object> base = new HashMap<>();
    if (args.length > 2) {
      Properties login = new Properties();
      try (var in = new java.io.FileInputStream(args[2])) {
        login.load(in);
      }
      for (String name : login.stringPropertyNames()) base.put(name, login.getProperty(name));
    }
    base.put("bootstrap.servers", brokers);

    try (Admin admin = Admin.create(base)) {
      admin.createTopics(List.of(new NewTopic(TOPIC, 6, (short) 1))).all().get();
      admin.describeTopics(List.of(TOPIC)).allTopicNames().get();
      produce(base, n);
      consume(base, n);
      Map<TopicPartition, OffsetSpec> latest = new HashMap<>();
      for (int p = 0; p < 6; p++) latest.put(new TopicPartition(TOPIC, p), OffsetSpec.latest());
      long ends = admin.listOffsets(latest).all().get().values().stream().mapToLong(o -> o.offset()).sum();
      check(ends == n, "end offsets sum up to " + ends);
      long committed = admin.listConsumerGroupOffsets("java-group").partitionsToOffsetAndMetadata().get().values().stream()
          .mapToLong(OffsetAndMetadata::offset).sum();
      check(committed == n, "committed offsets sum up to " + committed);
      admin.deleteTopics(List.of(TOPIC)).all().get();
      check(!admin.listTopics().names().get().contains(TOPIC), "the topic is still there");
    }
    System.out.println("ok " + n);
  }

  static void produce(Map<String, Object> base, int n) throws Exception {
    Map<String, Object> config = new HashMap<>(base);
    config.put("compression.type", "gzip");
    config.put("linger.ms", 5);
    try (Producer<String, String> p = new KafkaProducer<>(config, new StringSerializer(), new StringSerializer())) {
      List<java.util.concurrent.Future<RecordMetadata>> sent = new ArrayList<>(n);
      for (int i = 0; i < n; i++) sent.add(p.send(new ProducerRecord<>(TOPIC, "" + i % 1000, "" + i)));
      p.flush();
      for (var f : sent) check(f.get().offset() >= 0, "no offset");
    }
  }

  static void consume(Map<String, Object> base, int n) throws Exception {
    boolean[] seen = new boolean[n];
    int[] count = {0};
    List<Thread> threads = new ArrayList<>();
    List<Throwable> failures = Collections.synchronizedList(new ArrayList<>());
    for (int m = 0; m < 2; m++) {
      Thread t = new Thread(() -> {
        Map<String, Object> config = new HashMap<>(base);
        config.put("group.id", "java-group");
        config.put("auto.offset.reset", "earliest");
        config.put("enable.auto.commit", false);
        try (Consumer<String, String> c = new KafkaConsumer<>(config, new StringDeserializer(), new StringDeserializer())) {
          c.subscribe(List.of(TOPIC));
          long deadline = System.currentTimeMillis() + 120_000;
          while (System.currentTimeMillis() < deadline) {
            var records = c.poll(Duration.ofMillis(200));
            synchronized (seen) {
              for (var r : records) {
                int i = Integer.parseInt(r.value());
                if (!seen[i]) { seen[i] = true; count[0]++; }
              }
            }
            try { c.commitSync(); } catch (CommitFailedException | org.apache.kafka.common.errors.RebalanceInProgressException e) { /* the other member came in */ }
            synchronized (seen) { if (count[0] == n && records.isEmpty()) return; }
          }
        } catch (Throwable e) { failures.add(e); }
      });
      t.start();
      threads.add(t);
    }
    for (Thread t : threads) t.join();
    if (!failures.isEmpty()) throw new RuntimeException(failures.get(0));
    check(count[0] == n, count[0] + " of " + n + " messages came");
  }

  static void check(boolean ok, String what) {
    if (!ok) throw new IllegalStateException(what);
  }
}
