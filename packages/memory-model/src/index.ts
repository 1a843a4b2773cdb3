export { createProvidedAreas } from "./provided-area.ts";
