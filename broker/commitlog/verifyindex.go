package commitlog

// verifyIndex compares the index of a segment with what its frames say.
// Around damage the frames say too little for that: then only the index itself is
// verified, and says where the partitions stand.
func (v *verifier) verifyIndex(s *segment, damaged bool) {
	const do = "The next start makes it anew if the file is removed."
	x, err := openIndex(v.fs, v.dir, s.segmentMeta, newBlockCache(1))
	if err != nil {
		v.problem(indexName(s.name()), "the file", do, err)
		return
	}
	defer x.file.Close()
	v.Indexes++
	if damaged {
		d, err := x.directory()
		for i := int64(0); i < x.rows && err == nil; i += rowsPerBlock {
			_, _, err = x.row(i)
		}
		if err != nil {
			v.problem(x.name, "the file", do, err)
		} else {
			v.directory = d
		}
		return
	}
	if err := x.compare(s.mem, v.directory, v.chain.gaps); err != nil {
		v.problem(x.name, "the file", do, err)
	}
}

// compare errors with errDamage if the index does not say the same as one made from
// the frames. A partition that was closed may be missing in its directory; where
// something was cleaned away, the directory may stand further than the frames tell.
func (x *indexFile) compare(mem *memIndex, d directory, cleaned bool) error {
	if x.digest != mem.digest {
		return damagef("entries %+v, not %+v", x.digest, mem.digest)
	}
	i := int64(0)
	for _, p := range mem.partitions() {
		for want := range mem.of(p).all() {
			if i == x.rows {
				return damagef("it ends at row %d", i)
			}
			q, got, err := x.row(i)
			if err != nil {
				return err
			}
			if q != p || got != want {
				return damagef("row %d is %v %+v, not %v %+v", i, q, got, p, want)
			}
			i++
		}
	}
	if i != x.rows {
		return damagef("%d rows, not %d", x.rows, i)
	}
	for i := range x.dirs {
		got, err := x.directoryRow(i)
		if err != nil {
			return err
		}
		want, ok := d.get(got.partition)
		if got != want && !(cleaned && (!ok || got.next >= want.next && got.maxTime >= want.maxTime)) {
			return damagef("directory row %d is %+v, not %+v", i, got, want)
		}
	}
	return nil
}
