/**
 * Where a person is brought after signing in: a page of this listener, or its first page. Promises: never another origin, never an address
 * that acts when it is opened, no query. What is not plainly a page is dropped without a word.
 */
const PAGE = /^(?:\/[A-Za-z0-9_-]{1,100}){1,4}$/;
const NOT_PAGES = /^\/(?:api|session|scim|events)(?:\/|$)/;

/** Null: not a page of ours. `text` is what a browser sent. */
export function returnPath(text: unknown): string | null {
  return typeof text === 'string' && PAGE.test(text) && !NOT_PAGES.test(text) ? text : null;
}
