package kafka

import (
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func describing(version int16, kind kmsg.ConfigResourceType, name string, settings ...string) *kmsg.DescribeConfigsRequest {
	req := at(kmsg.NewPtrDescribeConfigsRequest(), version)
	r := kmsg.NewDescribeConfigsRequestResource()
	r.ResourceType, r.ResourceName, r.ConfigNames = kind, name, settings
	req.Resources = append(req.Resources, r)
	return req
}

func TestSettingsAreDescribedInEveryVersion(t *testing.T) {
	f := newFake()
	f.add("t", 1)
	w := to(t, f)
	for v := int16(1); v <= 4; v++ {
		for _, of := range []struct {
			kind kmsg.ConfigResourceType
			name string
		}{{kmsg.ConfigResourceTypeTopic, "t"}, {kmsg.ConfigResourceTypeBroker, "1"}, {kmsg.ConfigResourceTypeGroupConfig, "g"}} {
			req := describing(v, of.kind, of.name)
			req.IncludeSynonyms, req.IncludeDocumentation = true, true
			r := ask[*kmsg.DescribeConfigsResponse](w, req).Resources[0]
			if r.ErrorCode != 0 || r.ResourceType != of.kind || r.ResourceName != of.name || len(r.Configs) != 2 {
				t.Fatalf("v%d: %+v", v, r)
			}
			number, secret := r.Configs[0], r.Configs[1]
			if number.Name != "a.number" || *number.Value != "2" || number.Source != kmsg.ConfigSourceDynamicTopicConfig {
				t.Errorf("v%d: %+v", v, number)
			}
			if s := number.ConfigSynonyms; len(s) != 2 || *s[0].Value != "2" || *s[1].Value != "1" || s[1].Name != "log.number" || s[1].Source != kmsg.ConfigSourceDefaultConfig {
				t.Errorf("v%d: synonyms %+v", v, s)
			}
			if v >= 3 && (number.ConfigType != kmsg.ConfigTypeInt || *number.Documentation != "How many.") {
				t.Errorf("v%d: %+v", v, number)
			}
			if !secret.IsSensitive || secret.Value != nil || len(secret.ConfigSynonyms) != 1 || secret.ConfigSynonyms[0].Value != nil {
				t.Errorf("v%d: a secret is told: %+v", v, secret)
			}
		}
	}
}

func TestOnlyTheSettingsThatAreNamedAreDescribed(t *testing.T) {
	f := newFake()
	f.add("t", 1)
	w := to(t, f)
	for want, names := range map[int][]string{0: {"unknown"}, 1: {"a.number", "unknown"}, 2: {}} {
		r := ask[*kmsg.DescribeConfigsResponse](w, describing(4, kmsg.ConfigResourceTypeTopic, "t", names...)).Resources[0]
		if r.ErrorCode != 0 || len(r.Configs) != want {
			t.Errorf("%q: error %d, %d settings", names, r.ErrorCode, len(r.Configs))
		}
		if len(r.Configs) > 0 && (len(r.Configs[0].ConfigSynonyms) > 0 || r.Configs[0].Documentation != nil) {
			t.Errorf("what was not asked for: %+v", r.Configs[0])
		}
	}
}

func TestWhatHasNoSettingsSaysSo(t *testing.T) {
	w := to(t, newFake())
	for name, c := range map[string]struct {
		kind kmsg.ConfigResourceType
		name string
		want int16
	}{
		"an unknown topic":       {kmsg.ConfigResourceTypeTopic, "t", kerr.UnknownTopicOrPartition.Code},
		"another broker":         {kmsg.ConfigResourceTypeBroker, "2", kerr.InvalidRequest.Code},
		"a broker with a name":   {kmsg.ConfigResourceTypeBroker, "one", kerr.InvalidRequest.Code},
		"all brokers":            {kmsg.ConfigResourceTypeBroker, "", 0},
		"another one's loggers":  {kmsg.ConfigResourceTypeBrokerLogger, "2", kerr.InvalidRequest.Code},
		"all brokers' loggers":   {kmsg.ConfigResourceTypeBrokerLogger, "", kerr.InvalidRequest.Code},
		"a group without a name": {kmsg.ConfigResourceTypeGroupConfig, "", kerr.InvalidRequest.Code},
		"a type that is unknown": {100, "x", kerr.InvalidRequest.Code},
	} {
		r := ask[*kmsg.DescribeConfigsResponse](w, describing(4, c.kind, c.name)).Resources[0]
		if r.ErrorCode != c.want || (c.want == 0) != (r.ErrorMessage == nil) || len(r.Configs) > 0 {
			t.Errorf("%s: error %d, want %d, %d settings", name, r.ErrorCode, c.want, len(r.Configs))
		}
	}
}

func TestChangesOfSettingsReachTheTopicTheyName(t *testing.T) {
	f := newFake()
	f.add("t", 1)
	w := to(t, f)
	one := "1"
	var want []string
	for v := int16(0); v <= 1; v++ {
		req := at(kmsg.NewPtrIncrementalAlterConfigsRequest(), v)
		r := kmsg.NewIncrementalAlterConfigsRequestResource()
		r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeTopic, "t"
		r.Configs = []kmsg.IncrementalAlterConfigsRequestResourceConfig{
			{Name: "a", Op: kmsg.IncrementalAlterConfigOpSet, Value: &one}, {Name: "b", Op: kmsg.IncrementalAlterConfigOpDelete},
			{Name: "c", Op: kmsg.IncrementalAlterConfigOpAppend, Value: &one}, {Name: "d", Op: kmsg.IncrementalAlterConfigOpSubtract, Value: &one},
		}
		req.Resources = append(req.Resources, r)
		if got := ask[*kmsg.IncrementalAlterConfigsResponse](w, req).Resources[0]; got.ErrorCode != 0 || got.ResourceName != "t" {
			t.Errorf("v%d: %+v", v, got)
		}
		want = append(want, "alter t a:SET=1 b:DELETE=null c:APPEND=1 d:SUBTRACT=1")
	}
	for v := int16(0); v <= 2; v++ {
		req := at(kmsg.NewPtrAlterConfigsRequest(), v)
		r := kmsg.NewAlterConfigsRequestResource()
		r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeTopic, "t"
		r.Configs = []kmsg.AlterConfigsRequestResourceConfig{{Name: "a", Value: &one}}
		req.Resources = append(req.Resources, r)
		if got := ask[*kmsg.AlterConfigsResponse](w, req).Resources[0]; got.ErrorCode != 0 || got.ResourceName != "t" {
			t.Errorf("v%d: %+v", v, got)
		}
		want = append(want, "replace t a:SET=1")
	}
	if !slices.Equal(f.changes, want) {
		t.Errorf("changes %q, want %q", f.changes, want)
	}
}

func TestChangesOfSettingsThatMakeNoSenseAreRefused(t *testing.T) {
	f := newFake()
	f.add("t", 1)
	w := to(t, f)
	one := "1"
	type change = kmsg.IncrementalAlterConfigsRequestResourceConfig
	req := at(kmsg.NewPtrIncrementalAlterConfigsRequest(), 1)
	add := func(kind kmsg.ConfigResourceType, name string, changes ...change) {
		r := kmsg.NewIncrementalAlterConfigsRequestResource()
		r.ResourceType, r.ResourceName, r.Configs = kind, name, changes
		req.Resources = append(req.Resources, r)
	}
	const topic = kmsg.ConfigResourceTypeTopic
	add(topic, "twice", change{Name: "a", Value: &one})
	add(topic, "twice", change{Name: "b", Value: &one})
	add(topic, "a setting twice", change{Name: "a", Value: &one}, change{Name: "a", Value: &one})
	add(topic, "no value", change{Name: "a"})
	add(topic, "an operation", change{Name: "a", Op: 4, Value: &one})
	add(topic, "a negative operation", change{Name: "a", Op: -1, Value: &one})
	add(kmsg.ConfigResourceTypeBroker, "2", change{Name: "a", Value: &one})
	add(kmsg.ConfigResourceTypeBroker, "one", change{Name: "a", Value: &one})
	add(kmsg.ConfigResourceTypeGroupConfig, "", change{Name: "a", Value: &one})
	add(kmsg.ConfigResourceTypeBrokerLogger, "2", change{Name: "a", Value: &one})
	add(kmsg.ConfigResourceTypeBrokerLogger, "", change{Name: "a", Value: &one})
	add(topic, "unknown", change{Name: "a", Value: &one})
	for i, r := range ask[*kmsg.IncrementalAlterConfigsResponse](w, req).Resources {
		want := kerr.InvalidRequest.Code
		if r.ResourceName == "unknown" {
			want = kerr.UnknownTopicOrPartition.Code
		}
		if r.ErrorCode != want || r.ErrorMessage == nil || r.ResourceName != req.Resources[i].ResourceName {
			t.Errorf("%s: error %d", r.ResourceName, r.ErrorCode)
		}
	}
	if len(f.changes) > 0 {
		t.Errorf("changed: %q", f.changes)
	}
}
