package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// A Report is what a check of a log found.
type Report struct {
	Info Info
	// Damaged are the replicas that lack messages between their bounds. They may call themselves healthy, and may lead.
	Damaged []Replica
	// Silent are those that did not answer: nothing is known of them.
	Silent []Replica
}

// Check asks a log about itself and about each replica.
func Check(ctx context.Context, log Log) (Report, error) {
	info, err := log.Info(ctx)
	if err != nil {
		return Report{}, fmt.Errorf("check: %w", err)
	}
	r := Report{Info: info}
	for _, replica := range info.Replicas {
		switch {
		case !replica.Answers:
			r.Silent = append(r.Silent, replica)
		case replica.Missing > 0:
			r.Damaged = append(r.Damaged, replica)
		}
	}
	return r, nil
}

// Healing says what to do about damaged replicas, a step each, in the right order. It is empty when none is damaged.
//
// The order matters: a replica that is made anew is copied from the one that leads. If that is a damaged one, the copy has its holes.
// So the damaged replicas are replaced before anything else, and never the last intact one.
func (r *Report) Healing() (steps []string) {
	if len(r.Damaged) == 0 {
		return nil
	}
	damaged := func(x Replica) bool {
		return slices.ContainsFunc(r.Damaged, func(d Replica) bool { return d.Name == x.Name })
	}
	var intact []string
	for _, x := range r.Info.Replicas {
		if x.Answers && !damaged(x) {
			intact = append(intact, x.Name)
		}
	}
	step := func(format string, args ...any) {
		steps = append(steps, fmt.Sprintf("%d. ", len(steps)+1)+fmt.Sprintf(format, args...))
	}
	if len(intact) == 0 {
		step("No replica that answers is whole. Replace none of them: each may have messages that the others lack. Bring the servers back that do not answer (%s), and check again.", namesOf(r.Silent))
		step("A node of auditsql that has read the log has its records: keep its folder, and back it up now.")
		return steps
	}
	for _, d := range r.Damaged {
		if d.Leader {
			step("Let another replica lead (nats stream cluster step-down), until one of these leads: %s.", strings.Join(intact, ", "))
		}
	}
	for _, d := range r.Damaged {
		step("Stop server %s, which lacks %d messages, while %s leads. Move the folder of the stream in its storage (jetstream/ACCOUNT/streams/STREAM) aside.", d.Name, d.Missing, strings.Join(intact, " or "))
		step("Start %s again. It copies the stream from the leader. Wait until it has caught up.", d.Name)
	}
	step("Check again. Replace no other server before this check finds nothing missing: its new replica would copy the holes.")
	return steps
}

func namesOf(rs []Replica) string {
	if len(rs) == 0 {
		return "none"
	}
	var names []string
	for _, r := range rs {
		names = append(names, r.Name)
	}
	return strings.Join(names, ", ")
}
