package sim
var dbg func(w *World, k string, from, to uint64, idx uint64, reject bool, n int)
