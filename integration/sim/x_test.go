package sim
import ("testing";"fmt";"go.etcd.io/raft/v3/raftpb";"sort")
func TestX(t *testing.T){ 
 counts := map[string]int{}
 var sec [200]int
 dbg = func(w *World, k string, from, to uint64, idx uint64, reject bool, n int){ counts[fmt.Sprintf("%s %d>%d ents=%d rej=%v",k,from,to,n,reject)]++; sec[int(w.now.Seconds())]++ }
 r,err:=Run(Config{Seed:4,Duration:duration}); fmt.Println(r, err!=nil)
 var ks []string; for k := range counts { ks=append(ks,k)}; sort.Slice(ks,func(i,j int)bool{return counts[ks[i]]>counts[ks[j]]}); for _,k := range ks[:min(30,len(ks))] {fmt.Println(k,counts[k])}
 fmt.Println(sec)
 _ = raftpb.MsgApp }
