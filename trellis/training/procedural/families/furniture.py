"""Furniture: chair, table, sofa, bed, wardrobe, shelf."""

import torch

from trellis.training.procedural.builder import Builder


def chair(b: Builder) -> None:
    """Seat, legs (four, or a column on a star), a back (panel, slats or round), optional arms and stretchers."""
    p = b.palette
    frame = b.plain(b.pick(p.wood, p.wood, p.metal, p.dark, p.main))
    cushion = b.pattern(b.pick(p.main, p.second, p.light), p.accent, chance=0.45, axis=0)
    w, d, leg = b.uniform(0.42, 0.62), b.uniform(0.42, 0.58), b.uniform(0.42, 0.72)
    t, r = b.uniform(0.06, 0.12), b.uniform(0.055, 0.085)
    office = b.chance(0.25)
    round_seat = b.chance(0.3) & ~office
    b.box((w, d, t), cushion, rounding=0.05, at=(0, 0, leg), present=~round_seat)
    b.cylinder(w, t, cushion, rounding=0.04, at=(0, 0, leg), present=round_seat)
    inset = torch.where(round_seat, 0.68, 0.95)
    lx, ly, splay = w * inset - r, d * inset - r, b.uniform(0.0, 0.14)
    b.limb(
        (lx + splay, ly + splay, 0),
        (lx, ly, leg),
        r * b.uniform(0.7, 1.0),
        frame,
        end_radius=r,
        mirror="xy",
        flat=True,
        present=~office,
    )
    b.box((lx, r * 0.7, r * 0.7), frame, at=(0, ly + splay / 2, leg * 0.4), mirror="y", present=~office & b.chance(0.4))
    b.cylinder(r * 1.2, leg / 2, frame, at=(0, 0, leg / 2), present=office)
    b.box((w * 0.3, r, r * 0.8), frame, at=(0, 0, r), radial=(b.integer(4, 6), w * 0.32), present=office)
    height, lean = b.uniform(0.5, 0.95), b.uniform(0.0, 0.18)
    slats = b.chance(0.4)
    z0 = leg + t
    b.box(
        (w, r, height * 0.5),
        cushion,
        rounding=0.06,
        grow=(b.uniform(-0.15, 0.1), 0),
        shear=(0, lean / 2),
        at=(0, d - r + lean / 2, z0 + height / 2),
        present=~slats,
    )
    b.limb((w - r, d - r, z0 - t), (w - r, d - r + lean, z0 + height), r, frame, mirror="x", present=slats)
    n = b.integer(2, 3)
    b.box(
        (w - r, r * 0.8, height * 0.09),
        frame,
        at=(0, d - r + lean * 0.6, z0 + height * 0.6),
        array=(2, height * 0.3, n),
        present=slats,
    )
    arms = b.chance(0.35)
    ah = b.uniform(0.24, 0.36)
    b.box((r, d * 0.8, r * 0.8), frame, rounding=0.03, at=(w - r * 0.3, d * 0.15, z0 + ah), mirror="x", present=arms)
    b.limb((w - r * 0.3, -d * 0.5, z0 - t), (w - r * 0.3, -d * 0.5, z0 + ah), r * 0.8, frame, mirror="x", present=arms)


def table(b: Builder) -> None:
    """Top (square or round), four legs, a pedestal or side panels; optional apron, shelf and drawer."""
    p = b.palette
    wood = b.plain(b.pick(p.wood, p.light, p.metal, p.dark))
    top = b.pattern(b.pick(p.wood, p.wood, p.main, p.light), p.second, axis=0, chance=0.35, gloss=0.4)
    w, d, h = b.uniform(0.6, 1.1), b.uniform(0.5, 0.8), b.uniform(0.5, 1.1)
    t, r = b.uniform(0.055, 0.1), b.uniform(0.06, 0.1)
    round_top, style = b.chance(0.35), b.integer(0, 2)
    b.box((w, d, t), top, rounding=b.uniform(0.01, 0.06), at=(0, 0, h), present=~round_top)
    b.cylinder(d, t, top, at=(0, 0, h), present=round_top)
    legs, panels = (style == 0), (style == 2) & ~round_top
    pedestal = ~(legs | panels)
    reach_x, reach_y = torch.where(round_top, d * 0.62, w - r * 1.3), torch.where(round_top, d * 0.62, d - r * 1.3)
    splay = b.uniform(0.0, 0.12)
    b.limb(
        (reach_x + splay, reach_y + splay, 0),
        (reach_x, reach_y, h),
        r * b.uniform(0.6, 1.0),
        wood,
        end_radius=r,
        mirror="xy",
        flat=True,
        present=legs,
    )
    b.box((reach_x, reach_y, t * 1.3), wood, at=(0, 0, h - t * 2), present=legs & b.chance(0.5))
    b.box((reach_x, reach_y, t * 0.8), wood, at=(0, 0, h * 0.35), present=legs & b.chance(0.35))
    b.box((t, d * 0.7, h / 2), wood, at=(w * 0.8, 0, h / 2), mirror="x", present=panels)
    b.box((w * 0.8, t, h * 0.2), wood, at=(0, d * 0.3, h * 0.6), present=panels)
    b.cylinder(r * b.uniform(1.2, 2.2), h / 2, wood, top=r * b.uniform(1.1, 1.8), at=(0, 0, h / 2), present=pedestal)
    b.cylinder(d * b.uniform(0.4, 0.65), t * 1.1, wood, top=d * 0.3, at=(0, 0, t * 1.1), blend=0.08, present=pedestal)
    b.box(
        (w * 0.45, d * 0.4, h * 0.16),
        b.plain(p.second),
        rounding=0.03,
        at=(0, -d * 0.45, h - t - h * 0.16),
        present=(legs | panels) & ~round_top & b.chance(0.4),
    )


def sofa(b: Builder) -> None:
    """Seat with one to three cushions, back, arms (box or roll), feet and pillows."""
    p = b.palette
    cloth = b.pattern(b.pick(p.main, p.second, p.light, p.wood), p.accent, axis=0, chance=0.3)
    cushion = b.pattern(b.pick(p.main, p.second, p.light), p.light, axis=0, chance=0.3)
    w, d, h = b.uniform(0.5, 1.05), b.uniform(0.34, 0.44), b.uniform(0.12, 0.17)
    foot = b.uniform(0.06, 0.16)
    z = foot + h
    b.box((w, d, h), cloth, rounding=0.05, at=(0, 0, z))
    n = torch.clamp((w / 0.34).floor(), 1, 3)
    each = w / n
    b.box((each * 0.96, d * 0.85, 0.1), cushion, rounding=0.07, at=(0, -0.06, z + h + 0.05), array=(0, each * 2, n))
    back, lean = b.uniform(0.2, 0.4), b.uniform(0.0, 0.15)
    b.box(
        (w, 0.12, back),
        cloth,
        rounding=b.uniform(0.04, 0.1),
        shear=(0, lean / 2),
        at=(0, d - 0.05, z + h + back - 0.08),
    )
    arm, roll = b.uniform(0.1, 0.26), b.chance(0.4)
    ax, az = w + 0.06, z + h * 0.4 + arm / 2
    b.box((0.1, d, h * 0.8 + arm / 2), cloth, rounding=0.05, at=(ax, 0, az), mirror="x")
    b.cylinder(0.14, d, cloth, rotate=(90, 0, 0), at=(ax, 0, az + h * 0.6 + arm / 2), mirror="x", present=roll)
    b.cylinder(
        0.06, foot, b.plain(b.pick(p.wood, p.dark, p.metal)), top=0.075, at=(w * 0.92, d * 0.8, foot / 2), mirror="xy"
    )
    b.box(
        (0.16, 0.07, 0.16),
        b.pattern(p.accent, p.light, chance=0.5),
        rounding=0.06,
        rotate=(-15, b.uniform(-20, 20), 0),
        at=(w * 0.6, d - 0.26, z + h + 0.26),
        mirror="x",
        present=b.chance(0.45),
    )


def bed(b: Builder) -> None:
    """Frame, mattress, blanket, pillows, headboard (panel, round or bars) and optional footboard."""
    p = b.palette
    wood = b.plain(b.pick(p.wood, p.wood, p.light, p.dark, p.main))
    blanket = b.pattern(b.pick(p.main, p.second, p.accent), b.pick(p.light, p.accent), axis=1, chance=0.6)
    w, d, leg = b.uniform(0.4, 0.75), b.uniform(0.75, 0.95), b.uniform(0.08, 0.25)
    b.box((w, d, 0.09), wood, at=(0, 0, leg + 0.08))
    top = b.uniform(0.09, 0.15)
    z = leg + 0.15 + top
    b.box((w * 0.95, d * 0.96, top), b.plain(p.light), rounding=0.06, at=(0, -0.01, z))
    cover = b.uniform(0.55, 0.75) * d
    b.box((w + 0.03, cover, top * 0.85), blanket, rounding=0.05, at=(0, cover - d - 0.02, z + 0.04))
    double = w > 0.55
    b.box(
        (w * 0.4, 0.16, 0.08),
        b.plain(p.light),
        rounding=0.07,
        at=(w * 0.47, d * 0.72, z + top + 0.04),
        mirror="x",
        present=double,
    )
    b.box((w * 0.7, 0.16, 0.08), b.plain(p.light), rounding=0.07, at=(0, d * 0.72, z + top + 0.04), present=~double)
    head, bars = b.uniform(0.28, 0.55), b.chance(0.35)
    b.box((w, 0.06, head), wood, rounding=0.04, grow=(b.uniform(-0.25, 0.0), 0), at=(0, d, leg + head), present=~bars)
    b.box((w, 0.06, 0.07), wood, at=(0, d, leg + head * 2 - 0.05), present=bars)
    b.cylinder(0.055, head, wood, at=(0, d, leg + head), array=(0, w * 0.5, 5), present=bars)
    foot = b.chance(0.5)
    b.box((w, 0.055, b.uniform(0.18, 0.26)), wood, rounding=0.04, at=(0, -d, leg + 0.2), present=foot)
    b.box((0.07, 0.07, leg * 0.6 + 0.05), wood, at=(w - 0.07, d - 0.06, leg * 0.5), mirror="xy")


def wardrobe(b: Builder) -> None:
    """Wardrobe, dresser or cupboard: doors and drawers with handles, feet or a plinth, glass or mirror panes."""
    p = b.palette
    body = b.plain(b.pick(p.wood, p.wood, p.light, p.dark, p.main))
    front = b.pattern(b.pick(p.wood, p.light, p.main, p.second, p.wood * 0.8), p.light, axis=0, chance=0.2, kinds=(1,))
    metal = b.plain(b.pick(p.metal, p.dark, p.accent), 0.8)
    w, h, d = b.uniform(0.42, 1.0), b.uniform(0.36, 1.0), b.uniform(0.24, 0.36)
    feet, foot = b.chance(0.6), b.uniform(0.06, 0.2)
    b.box((w, d, h), body, at=(0, 0, foot + h))
    b.box((w * 0.94, d * 0.9, foot * 0.6), b.plain(p.dark), at=(0, 0, foot * 0.6), present=~feet)
    b.cylinder(0.06, foot * 0.6, metal, top=b.uniform(0.06, 0.1), at=(w - 0.1, d - 0.1, foot * 0.6), mirror="xy",
               present=feet)  # fmt: skip
    brim = b.uniform(0.02, 0.1)
    b.box((w + brim, d + brim, 0.055), body, grow=(b.uniform(-0.04, 0.04), 0), at=(0, 0, foot + 2 * h),
          present=b.chance(0.6))  # fmt: skip
    share = torch.where(b.chance(0.3), 1.0, b.uniform(0.25, 0.65))  # how much of the front the drawers take
    share = torch.where(b.chance(0.35), 0.0, share)
    drawers, doors = share > 0.1, share < 0.9
    rows = (share * h / b.uniform(0.13, 0.2)).round().clamp(1, 5)
    above = b.chance(0.2)
    tall, low = (h * share / rows).clamp_min(0.05), torch.where(above, foot + 2 * h * (1 - share), foot)
    columns = torch.where((w > 0.6) & b.chance(0.6), 2.0, 1.0)
    x, z = (columns - 1) * w / 2, low + share * h
    b.box((w / columns - 0.035, 0.055, tall - 0.03), front, at=(x, -d - 0.01, z), mirror="x",
          array=(2, tall * 2, rows), present=drawers)  # fmt: skip
    knob, bar = b.uniform(0.05, 0.07), b.chance(0.5)
    b.sphere(knob, metal, at=(x, -d - 0.1, z), mirror="x", array=(2, tall * 2, rows), present=drawers & ~bar)
    b.box((w / columns * 0.4, 0.05, 0.05), metal, at=(x, -d - 0.09, z), mirror="x", array=(2, tall * 2, rows),
          present=drawers & bar)  # fmt: skip
    leaves = (w / b.uniform(0.2, 0.34)).round().clamp(2, 4)
    each, half = w / leaves, (h * (1 - share)).clamp_min(0.05)
    z = torch.where(above, foot, foot + 2 * h * share) + half
    b.box((each - 0.025, 0.055, half - 0.03), front, at=(0, -d - 0.01, z), array=(0, each * 2, leaves), present=doors)
    pane = b.plain(b.pick(p.glass, p.glass, p.light, p.second), 0.9)
    b.box((each * 0.66, 0.2, half * b.uniform(0.5, 0.8)), pane, at=(0, -d - 0.12, z), array=(0, each * 2, leaves),
          operation="paint", present=doors & b.chance(0.45))  # fmt: skip
    odd = leaves == 3
    b.box((0.05, 0.05, (half * b.uniform(0.12, 0.35)).clamp_min(0.05)), metal, rounding=0.04,
          at=(torch.where(leaves == 4, w / 2, 0.0), -d - 0.09, z), mirror="x",
          array=(0, torch.where(odd, each * 2, b.uniform(0.15, 0.2)), torch.where(odd, 3.0, 2.0)),
          present=doors)  # fmt: skip


def shelf(b: Builder) -> None:
    """Open shelves (bookcase, cubes, ladder) with rows of books, boxes, balls and vases."""
    p = b.palette
    wood = b.plain(b.pick(p.wood, p.wood, p.light, p.dark, p.main, p.metal))
    w, d, n = b.uniform(0.36, 1.0), b.uniform(0.18, 0.28), b.integer(2, 5)
    gap, t, foot = torch.minimum(b.uniform(0.34, 0.62), 2.2 / n), b.uniform(0.05, 0.065), b.uniform(0.05, 0.3)
    h = n * gap / 2
    closed, posts = b.chance(0.55), b.chance(0.35)
    top = foot + 2 * h
    b.box((t, d, h + foot / 2 + t), wood, at=(w, 0, h + foot / 2), mirror="x", present=~posts)
    b.box((0.055, 0.055, h + foot / 2 + t), wood, at=(w, d - 0.05, h + foot / 2), mirror="xy", present=posts)
    b.box((w, d, t), wood, at=(0, 0, foot + h), array=(2, gap, n + 1))
    b.box((w, 0.05, h), b.plain(b.pick(p.wood * 0.8, p.light, p.second)), at=(0, d - 0.05, foot + h), present=closed)
    cubes = (2 * w / gap).round().clamp(1, 4)
    between = (cubes - 1).clamp_min(1)
    b.box((0.05, d * 0.96, h), wood, at=(0, 0, foot + h), array=(0, 2 * w / (between + 1), between),
          present=(cubes > 1) & b.chance(0.5))  # fmt: skip
    for level in range(5):
        there, books = n > level, b.chance(0.7)
        z, long, side = foot + level * gap, b.uniform(0.25, 0.9) * (w - 0.05), torch.where(b.chance(0.5), 1.0, -1.0)
        tall = (gap / 2 - t) * b.uniform(0.55, 0.9)
        first, second = b.pick(p.main, p.second, p.accent, p.dark), b.pick(p.light, p.accent, p.wood, p.main)
        rows = b.pattern(first, second, axis=0, chance=0.85, kinds=(1, 1, 4), period=(0.14, 0.3))
        b.box((long, d * b.uniform(0.6, 0.85), tall), rows, at=(side * (w - 0.05 - long), 0.02, z + t + tall - 0.01),
              present=there & books)  # fmt: skip
        r = torch.minimum(d * 0.8, tall)
        b.cylinder(r * b.uniform(0.5, 1.0), tall, rows, top=r * b.uniform(0.4, 1.0), rounding=0.05,
                   at=(side * -w * b.uniform(0.0, 0.5), 0, z + t + tall - 0.01),
                   present=there & ~books & b.chance(0.8))  # fmt: skip
    b.ellipsoid((0.16, 0.16, b.uniform(0.12, 0.26)), b.plain(b.pick(p.accent, p.leaf, p.light), 0.6),
                at=(b.uniform(-0.6, 0.6) * w, 0, top + t + 0.1), present=b.chance(0.4))  # fmt: skip
