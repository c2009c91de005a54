"""Pages as page stores keep them: a line of JSON each."""

from pydantic import BaseModel, ConfigDict

from wideseek_core.search import Page


class StoredPage(BaseModel):
    """A page as a line of a page store; other fields that a line has are not kept."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    url: str
    title: str = ""
    contents: str

    @classmethod
    def of(cls, page: Page) -> "StoredPage":
        """A page as a line."""
        return cls(url=page.url, title=page.title, contents=page.text)

    @property
    def page(self) -> Page:
        """The page that tools read."""
        return Page(url=self.url, title=self.title, text=self.contents)
