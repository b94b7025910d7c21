"""The report page: one HTML file that needs nothing beside it."""

import re
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from stages.core.reporting.classes import class_tables
from stages.core.reporting.collect import worst_parity
from stages.core.reporting.confusion import class_cards
from stages.core.reporting.content import Content, heat_tables, provenance, scatter_cards, subset_notes, training_cards
from stages.core.reporting.devices import device_facts
from stages.core.reporting.pictures import THUMBNAIL_SIDE, embed_image
from stages.core.reporting.recommendations import recommend, rule, unserved
from stages.core.reporting.refinements import qat_notes, sparsity_cards
from stages.core.reporting.tables import (
    best_rows,
    columns_of,
    format_interval,
    format_number,
    headline,
    highest_ap,
    join_titles,
    row_remark,
)
from stages.core.reporting.texts import with_texts
from stages.core.results.status import Status

TEMPLATES = Path(__file__).parent / "templates"


def breakable(name: str) -> Markup:
    """A name that may be broken behind its underscores and slashes, not inside a word."""
    parts = re.split(r"(?<=[_/])", name)
    return Markup("<wbr>").join(parts)


def page_templates() -> Environment:
    """The templates of the pages, with the filters that write numbers and names."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["num"] = format_number
    environment.filters["interval"] = format_interval
    environment.filters["breakable"] = breakable
    environment.filters["with_texts"] = with_texts
    environment.filters["chip"] = lambda row: "n/a" if row.status is Status.NOT_APPLICABLE else row.verdict.value
    return environment


def render_page(content: Content) -> str:
    """The whole page as HTML: styles, script, charts and pictures are inside; it makes no request."""
    images = {picture.image.image_id: picture.image for picture in content.pictures}
    small = {picture.image.image_id: picture.image for card in content.moved for picture in card.pictures}
    return (
        page_templates()
        .get_template("page.html.jinja")
        .render(
            content=content,
            metrics=content.metrics,
            rows=tuple(zip(content.metrics.rows, content.bounds, strict=True)),
            headline=headline(content.metrics),
            best=join_titles(best_rows(content.metrics)),
            highest=highest_ap(content.metrics),
            recommendations=recommend(content.metrics),
            recommendation_rule=rule(),
            unserved=unserved(content.metrics),
            columns=columns_of(content.metrics),
            device_facts=device_facts(content.metrics.devices),
            row_remark=row_remark,
            notes=subset_notes(content.cells),
            partial={cell.name for cell in content.cells if subset_notes([cell])},
            scatters=scatter_cards(content),
            heats=heat_tables(content),
            classes=[(table, class_cards(table.cells, table.kind)) for table in class_tables(content.cells)],
            trainings=training_cards(content),
            worst_parity=worst_parity,
            sparsities=sparsity_cards(content.cells),
            qat_notes=qat_notes(content.cells),
            facts=provenance(content),
            embedded={f"img-{image_id}": embed_image(image.path) for image_id, image in images.items()}
            | {f"small-{image_id}": embed_image(image.path, THUMBNAIL_SIDE) for image_id, image in small.items()},
        )
    )
