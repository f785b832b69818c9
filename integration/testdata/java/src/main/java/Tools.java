import java.io.*;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.nio.file.*;
import java.util.*;
import java.util.regex.*;
import org.apache.kafka.common.utils.Exit;

/**
 * Runs Apache Kafka's command line tools one after the other in this JVM, as a script on standard input says:
 *
 * <pre>
 *   # a comment
 *   kafka-topics --bootstrap-server BROKERS --create --topic 'a topic'
 *   kafka-console-producer ... &lt; first\nsecond     (what follows is its standard input)
 *   kafka-delete-records ... '@{"version":1}'         (a file with that in it)
 * </pre>
 *
 * and prints each line, below it what the tool printed, and its exit code if that is not 0.
 */
public class Tools {
  static final long LIMIT_MILLIS = 30_000; // how long a tool may take

  static final Map<String, String> CLASSES = new HashMap<>();

  static {
    String tools = "org.apache.kafka.tools.";
    CLASSES.put("kafka-topics", tools + "TopicCommand");
    CLASSES.put("kafka-configs", "kafka.admin.ConfigCommand");
    CLASSES.put("kafka-consumer-groups", tools + "consumer.group.ConsumerGroupCommand");
    CLASSES.put("kafka-groups", tools + "GroupsCommand");
    CLASSES.put("kafka-acls", tools + "AclCommand");
    CLASSES.put("kafka-transactions", tools + "TransactionsCommand");
    CLASSES.put("kafka-log-dirs", tools + "LogDirsCommand");
    CLASSES.put("kafka-leader-election", tools + "LeaderElectionCommand");
    CLASSES.put("kafka-reassign-partitions", tools + "reassign.ReassignPartitionsCommand");
    CLASSES.put("kafka-delete-records", tools + "DeleteRecordsCommand");
    CLASSES.put("kafka-get-offsets", tools + "GetOffsetShell");
    CLASSES.put("kafka-broker-api-versions", tools + "BrokerApiVersionsCommand");
    CLASSES.put("kafka-features", tools + "FeatureCommand");
    CLASSES.put("kafka-cluster", tools + "ClusterTool");
    CLASSES.put("kafka-client-metrics", tools + "ClientMetricsCommand");
    CLASSES.put("kafka-metadata-quorum", tools + "MetadataQuorumCommand");
    CLASSES.put("kafka-console-producer", tools + "ConsoleProducer");
    CLASSES.put("kafka-console-consumer", tools + "consumer.ConsoleConsumer");
    CLASSES.put("kafka-verifiable-producer", tools + "VerifiableProducer");
    CLASSES.put("kafka-verifiable-consumer", tools + "VerifiableConsumer");
    CLASSES.put("kafka-transactional-message-copier", tools + "TransactionalMessageCopier");
    CLASSES.put("kafka-client-compatibility-test", tools + "ClientCompatibilityTest");
    CLASSES.put("kafka-replica-verification", tools + "ReplicaVerificationTool");
  }

  /** What Exit throws instead of ending the JVM. */
  static class Ended extends Error {}

  /** One run of a tool: what it has printed until it exited, however it goes on if it catches what Exit throws. */
  static class Run {
    final ByteArrayOutputStream out = new ByteArrayOutputStream();
    final List<Runnable> hooks = new ArrayList<>();
    Integer code;
    String said;

    synchronized void exit(int code) {
      if (this.code == null) {
        this.code = code;
        said = out.toString(StandardCharsets.UTF_8);
      }
      throw new Ended();
    }
  }

  static volatile Run now;

  public static void main(String[] args) throws Exception {
    Exit.setExitProcedure((code, message) -> now.exit(code));
    Exit.setHaltProcedure((code, message) -> now.exit(code));
    Exit.setShutdownHookAdder((name, hook) -> now.hooks.add(hook));
    PrintStream out = System.out;
    BufferedReader script = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line; (line = script.readLine()) != null; ) {
      out.println(line);
      if (line.isBlank() || line.startsWith("#")) continue;
      Run run = now = new Run();
      PrintStream to = new PrintStream(run.out, true, StandardCharsets.UTF_8);
      System.setOut(to);
      System.setErr(to);
      String command = line;
      Thread tool = new Thread(() -> run(command, run, to));
      tool.setDaemon(true);
      tool.start();
      tool.join(LIMIT_MILLIS);
      if (tool.isAlive()) out.println("  does not end");
      String said = run.said != null ? run.said : run.out.toString(StandardCharsets.UTF_8);
      for (String s : said.split("\n")) if (!s.isBlank()) out.println("  " + s.stripTrailing());
      if (run.code != null && run.code != 0) out.println("  exit " + run.code);
      out.flush();
    }
    Runtime.getRuntime().halt(0); // whatever threads a tool has left
  }

  static void run(String line, Run run, PrintStream to) {
    int at = line.indexOf(" < ");
    if (at >= 0) {
      System.setIn(new ByteArrayInputStream(line.substring(at + 3).replace("\\n", "\n").getBytes(StandardCharsets.UTF_8)));
      line = line.substring(0, at);
    }
    List<String> words = new ArrayList<>();
    Matcher m = Pattern.compile("'([^']*)'|(\\S+)").matcher(line);
    while (m.find()) words.add(word(m.group(1) != null ? m.group(1) : m.group(2)));
    String name = CLASSES.get(words.remove(0));
    if (name == null) throw new IllegalArgumentException("no such tool: " + line);
    try {
      Class.forName(name).getMethod("main", String[].class).invoke(null, (Object) words.toArray(new String[0]));
    } catch (InvocationTargetException e) {
      if (!(e.getCause() instanceof Ended)) to.println("thrown: " + e.getCause());
    } catch (ReflectiveOperationException e) {
      throw new IllegalStateException(line, e);
    }
    for (Runnable hook : run.hooks) hook.run();
  }

  static String word(String w) {
    if (!w.startsWith("@")) return w;
    try {
      Path file = Files.createTempFile("tools", ".json");
      file.toFile().deleteOnExit();
      return Files.writeString(file, w.substring(1)).toString();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
