package web

// apiRoutes are the routes of the API.
func (s *Server) apiRoutes() []route { return nil }
