/** A block of a guide: commands, a file, what they print, or a part of a file. */
export type GuideBlock =
  | { readonly kind: "commands"; readonly lines: readonly string[] }
  | { readonly kind: "file"; readonly path: string; readonly text: string }
  | { readonly kind: "output"; readonly lines: readonly string[] }
  | { readonly kind: "excerpt"; readonly text: string };

/** The code blocks of a page, in order. */
export function guideBlocks(page: string): GuideBlock[] {
  return [...page.matchAll(/^```(\w+)(?: title="([^"]+)")?\n([\s\S]*?)^```$/gm)].map(([, language, path, text]): GuideBlock => {
    const lines = text!.trimEnd().split("\n");
    if (path !== undefined) return { kind: "file", path, text: text! };
    switch (language) {
      case "sh": return { kind: "commands", lines };
      case "text": return { kind: "output", lines };
      case "ts": return { kind: "excerpt", text: text!.trimEnd() };
      default: throw new Error(`a block of ${language!} that nobody runs`);
    }
  });
}
