package bundle_test

import (
	"fmt"
	"log"

	"github.com/auditsql/auditsql/evidence"
	"github.com/auditsql/auditsql/evidence/bundle"
)

// An auditor checks what was sent, with a key that was received separately.
func ExampleCheck() {
	policy, err := evidence.KeyPolicy("log.example.com/payments+e22e3a3a+AYm4m4+…")
	if err != nil {
		fmt.Println("a key that was cut is refused")
	}
	files, err := bundle.Open("../testdata/log/bundle.zip")
	if err != nil {
		log.Fatal(err)
	}
	defer files.Close()
	for f := range bundle.Check(files, policy) {
		fmt.Println(f.Kind, f.Verdict.Outcome, f.Verdict.Reason)
	}
	// Output:
	// a key that was cut is refused
	// range undecided unknown-key
	// record undecided unknown-key
	// record undecided unknown-key
}
