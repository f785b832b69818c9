package commitlog

import "fmt"

// Address is the place of a byte in this node's log: the base address of its
// segment plus its position in the file. Another node has the same entry at
// another address; an address is never sent to one.
type Address uint64

// String is the address in 20 digits, as tools print it.
func (a Address) String() string { return fmt.Sprintf("%020d", uint64(a)) }
