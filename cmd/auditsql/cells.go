package main

import (
	"fmt"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/tui"
	"github.com/auditsql/auditsql/internal/when"
)

// briefHash is how many digits of a hash a table shows: as many as get needs.
const briefHash = 8

const anonymous = "anonymous"

func hashCell(h audit.Hash) tui.Cell {
	s := h.String()
	return tui.Text(s).As(s[:briefHash])
}

// lifecycleCell marks every lifecycle but Approved and Unstated.
func lifecycleCell(l audit.Lifecycle) tui.Cell {
	return tui.Text(l.String()).Marked(l.Unapproved())
}

// approvedCell is how many pieces of evidence are Approved, as in 2 of 3. A sign marks it also where there is no colour.
func approvedCell(all, approved, unapproved int) tui.Cell {
	switch {
	case all == 0:
		return tui.Cell{Brief: "-"}
	case unapproved > 0:
		return tui.Text(fmt.Sprintf("%d of %d !", approved, all)).Marked(true)
	}
	return tui.Text(fmt.Sprintf("%d of %d", approved, all))
}

// timeCell is a timestamp as people write it. Where there is little room it has no fraction of a second, no year and no
// zone; the heading then has these.
func timeCell(timestamp uint64, c when.Clock) tui.Cell {
	cell := tui.Text(c.Format(timestamp))
	if t, ok := c.Unit.Time(timestamp); ok {
		t = t.In(c.Zone)
		cell.Short, cell.Year, cell.Zone = t.Format("01-02 15:04:05"), t.Format("2006"), t.Format(zoneForm)
	}
	return cell
}

// sameDayCell is timeCell for a time on a page that has another one in full. Where there is little room and both have the
// same date and the same zone, it has neither.
func sameDayCell(timestamp, other uint64, c when.Clock) tui.Cell {
	cell := timeCell(timestamp, c)
	a, ok := c.Unit.Time(timestamp)
	b, ok2 := c.Unit.Time(other)
	const dateAndZone = when.DateForm + zoneForm
	if ok && ok2 && a.In(c.Zone).Format(dateAndZone) == b.In(c.Zone).Format(dateAndZone) {
		cell.Short, cell.Year, cell.Zone = a.In(c.Zone).Format("15:04:05"), "", ""
	}
	return cell
}

// seenCell is when something was first seen, as seen from a record that is not older.
func seenCell(first *uint64, from uint64, c when.Clock) tui.Cell {
	if first == nil {
		return tui.Cell{Brief: "-"}
	}
	cell := tui.Text(c.Apart(*first, from))
	a, ok := c.Unit.Time(*first)
	b, ok2 := c.Unit.Time(from)
	if d := b.Sub(a); ok && ok2 && d >= time.Second {
		cell.Short = roughly(d) + " before"
	}
	return cell
}

// atLeast is a count, with a + after it where counting ended at a limit.
func atLeast(n int, more bool) tui.Cell {
	if more {
		return tui.Number(n).As(fmt.Sprintf("%d+", n))
	}
	return tui.Number(n)
}

// markRow marks each cell of a row.
func markRow(row []tui.Cell) {
	for i := range row {
		row[i].Alarm = true
	}
}
