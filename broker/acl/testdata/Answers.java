import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.net.InetAddress;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.acl.AclPermissionType;
import org.apache.kafka.common.metrics.Metrics;
import org.apache.kafka.common.metrics.internals.PluginMetricsImpl;
import org.apache.kafka.common.resource.PatternType;
import org.apache.kafka.common.resource.ResourcePattern;
import org.apache.kafka.common.resource.ResourceType;
import org.apache.kafka.common.security.auth.KafkaPrincipal;
import org.apache.kafka.common.security.auth.SecurityProtocol;
import org.apache.kafka.common.utils.SecurityUtils;
import org.apache.kafka.metadata.authorizer.StandardAcl;
import org.apache.kafka.metadata.authorizer.StandardAuthorizer;
import org.apache.kafka.server.authorizer.Action;
import org.apache.kafka.server.authorizer.AuthorizableRequestContext;
import org.apache.kafka.server.authorizer.AuthorizationResult;

/** Has Apache Kafka's StandardAuthorizer answer the questions on standard input; see kafka_test.go. */
public class Answers {
    record Client(KafkaPrincipal principal, InetAddress clientAddress) implements AuthorizableRequestContext {
        public String listenerName() { return "PLAINTEXT"; }
        public SecurityProtocol securityProtocol() { return SecurityProtocol.PLAINTEXT; }
        public int requestType() { return 0; }
        public int requestVersion() { return 0; }
        public String clientId() { return "questions"; }
        public int correlationId() { return 0; }
    }

    static StandardAuthorizer authorizer(Map<String, String> settings, Map<Uuid, StandardAcl> acls) {
        StandardAuthorizer a = new StandardAuthorizer();
        Map<String, Object> config = new HashMap<>(settings);
        config.put("node.id", "1");
        a.configure(config);
        a.withPluginMetrics(new PluginMetricsImpl(new Metrics(), Map.of()));
        a.loadSnapshot(acls);
        a.completeInitialLoad();
        return a;
    }

    public static void main(String[] args) throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        StringBuilder out = new StringBuilder();
        Map<String, String> settings = Map.of();
        Map<Uuid, StandardAcl> acls = new LinkedHashMap<>();
        StandardAuthorizer authorizer = null;
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String[] w = line.split(" ");
            out.append(line);
            switch (w[0]) {
                case "world" -> {
                    settings = Map.of("super.users", w[1], "allow.everyone.if.no.acl.found", w[2]);
                    acls = new LinkedHashMap<>();
                    authorizer = null;
                }
                case "acl" -> acls.put(new Uuid(1, acls.size() + 1), new StandardAcl(ResourceType.fromString(w[1]), w[3],
                    PatternType.valueOf(w[2].toUpperCase()), w[4], w[5], AclOperation.fromString(w[6]), AclPermissionType.fromString(w[7])));
                case "ask", "some" -> {
                    if (authorizer == null) authorizer = authorizer(settings, acls);
                    Client who = new Client(SecurityUtils.parseKafkaPrincipal(w[1]), InetAddress.getByName(w[2]));
                    AclOperation op = AclOperation.fromString(w[3]);
                    ResourceType on = ResourceType.fromString(w[4]);
                    AuthorizationResult answer = w[0].equals("some") ? authorizer.authorizeByResourceType(who, op, on)
                        : authorizer.authorize(who, List.of(new Action(op, new ResourcePattern(on, w[5], PatternType.LITERAL), 1, false, false))).get(0);
                    out.append(' ').append(answer);
                }
                default -> { }
            }
            out.append('\n');
        }
        System.out.print(out);
    }
}
