"""The newest (or oldest) rows of each group of tag sets, without reading the others (design section 6).

What a request's ``Newest`` asks: last points, top rows in the order of time. A group is all tag sets that are equal in
some tags; without such tags all rows are one group.

1. ``waiting``: blocks and head runs in range, best first, by the times in headers alone.
2. ``scan`` looks at the best ones: of each open tag set's rows, sorted by time, the end (``ranges``) may count.
   Tombstones hide versions first. A block's ends of one row are kept decoded (``tails``), those of many blocks as one
   table (``joined``).
3. What was found goes by place into the ``pool``, which decides in the order of time which rows count.
4. A group is settled when no waiting part can have a row before its last one that counts. Its rows' fields are then
   fetched (``found``), versions of equal keys merged, and its tag sets want nothing more: parts without an open tag set
   are dropped unread. What a scan learns of the blocks that tag sets are in is kept (``reach``): one that ended long
   ago is looked for once.

Of one newest row of each group of all tag sets, what was found in blocks is kept (``kept``) until there are other
blocks; then only the head is scanned, if anything (``keeping``).
"""
